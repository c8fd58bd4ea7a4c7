"""``lit-cnn benchmark``: measures the arms by turns, and says how they compare."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image

from lit_cnn.benchmark.accuracy import compare_accuracy
from lit_cnn.benchmark.arms import ARMS
from lit_cnn.benchmark.case import Case
from lit_cnn.benchmark.decoding import measure_decoding
from lit_cnn.benchmark.growth import measure_growth, plot_growth, print_growth
from lit_cnn.benchmark.optimisations import measure_optimisations
from lit_cnn.commands.messages import one_line_errors, quiet
from lit_cnn.layers.checks import require_positive
from lit_cnn.models import find_variant
from lit_cnn.runs.environment import source_commit
from lit_cnn.training.callbacks.compile import Mode
from lit_cnn.training.precision import computes_in_bfloat16

# What is measured if nothing is named: a name, the model, data, image size and batch size.
CASES = {
    "lenet": Case("lenet", "fashion_mnist", 28, 256),
    "resnet18": Case("resnet18", "fashion_mnist", 96, 128),
    "googlenet": Case("googlenet", "fashion_mnist", 96, 128),
    "densenet": Case("densenet_d2l", "fashion_mnist", 96, 128),
    "folder": Case("resnet18", "folder", 128, 64),
}
NUM_JPEGS = 4000


def make_folder(folder: Path, num_images: int = NUM_JPEGS, num_classes: int = 10) -> None:
    """Writes JPEGs of 256 to 500 pixels a side: colours that change slowly, as in photographs, and some noise."""
    random = np.random.default_rng(0)
    for number in range(num_images):
        height, width = random.integers(256, 501, 2)
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        pixels = (pixels + random.integers(-20, 21, pixels.shape)).clip(0, 255).astype(np.uint8)
        target = folder / f"class{number % num_classes}"
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target / f"{number:05}.jpg", quality=85)


def run_arm(arm: str, case: Case, num_workers: int = 0) -> dict[str, Any]:
    """Measures an arm in a process of its own: its memory and its start are its own then.

    Raises:
        ChildProcessError: If it failed; says what it printed last.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        request = {"arm": arm, "case": asdict(case), "num_workers": num_workers, "result": str(result)}
        command = [sys.executable, "-m", "lit_cnn.benchmark.arms", json.dumps(request)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not result.exists():
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise ChildProcessError(f"the arm {arm} of {case.model} failed: {last}")
        return json.loads(result.read_text())


def run_case(case: Case, repeats: int) -> dict[str, Any]:
    """Measures all arms of a case, one after the other and then again, so that a busy machine is busy for all of them."""
    # The loops by hand get the number of workers with which they are fastest, the ceiling its precision and memory format.
    trial = replace(case, seconds=min(case.seconds, 4.0))
    processors = os.cpu_count() or 1
    counts = sorted({0, 1, 2, processors} | {2**power for power in range(processors.bit_length())})
    workers = {count: run_arm("plain", trial, count)["images_per_s"] for count in counts if count <= processors}
    best = max(workers, key=workers.__getitem__)
    ceilings = run_arm("trials", trial)
    case = replace(case, ceiling=max(ceilings, key=ceilings.__getitem__))
    measured: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for _ in range(repeats):
        for arm in ARMS:
            measured[arm].append(run_arm(arm, case, best if arm in ("plain", "lightning") else 0))
    trials = {"plain_images_per_s_by_workers": workers, "workers": best, "ceiling_images_per_s": ceilings}
    return {"case": asdict(case), **trials, "arms": measured}


def summarise(result: dict[str, Any]) -> dict[str, Any]:
    """Medians of a case's arms, and how the command compares with the others, pairs of one round divided first."""
    arms = result["arms"]
    summary: dict[str, Any] = {}
    for arm, rounds in arms.items():
        speeds = [one["images_per_s"] for one in rounds]
        summary[arm] = {
            "images_per_s": statistics.median(speeds),
            "lowest": min(speeds),
            "highest": max(speeds),
            "first_step_s": statistics.median(one["first_step_s"] for one in rounds),
            "peak_memory_mb": max(one["peak_memory_mb"] for one in rounds),
        }
        if "peak_device_memory_mb" in rounds[0]:
            summary[arm]["peak_device_memory_mb"] = max(one["peak_device_memory_mb"] for one in rounds)
        if rounds[0]["first_epoch_images_per_s"]:
            summary[arm]["first_epoch_images_per_s"] = statistics.median(one["first_epoch_images_per_s"] for one in rounds)
    for arm in ("plain", "lightning", "ceiling"):
        rounds = zip(arms["lit_cnn"], arms[arm], strict=True)
        ratios = [ours["images_per_s"] / theirs["images_per_s"] for ours, theirs in rounds]
        summary[f"lit_cnn/{arm}"] = statistics.median(ratios)
    if "first_epoch_images_per_s" in summary["plain"]:
        ours, theirs = (summary[arm]["first_epoch_images_per_s"] for arm in ("lit_cnn", "plain"))
        summary["first epoch: lit_cnn/plain"] = ours / theirs
    return summary


def print_case(name: str, result: dict[str, Any], summary: dict[str, Any]) -> None:
    case = result["case"]
    print(
        f"\n{name}: {case['model']} at {case['image_size']}×{case['image_size']}, batches of {case['batch_size']}, "
        f"{case['data']}, {case['phase']}, {case['device']}"
    )
    print(f"  {'arm':10} {'images/s':>10} {'spread':>19} {'first step':>11} {'peak memory':>12}")
    for arm in ARMS:
        row = summary[arm]
        spread = f"{row['lowest']:,.0f} to {row['highest']:,.0f}"
        print(
            f"  {arm:10} {row['images_per_s']:>10,.0f} {spread:>19} {row['first_step_s']:>9.1f} s "
            f"{row.get('peak_device_memory_mb', row['peak_memory_mb']):>9,.0f} MB"
        )
    ratios = [f"{key} {value:.2f}" for key, value in summary.items() if "/" in key]
    print(f"  {', '.join(ratios)}")
    print(
        f"  workers of the loops by hand: {result['workers']}; ceiling: {case['ceiling']}",
        flush=True,
    )


def environment() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": source_commit(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cpu_name": _cpu_name(),
        "cpu_computes_in_bfloat16": computes_in_bfloat16("cpu"),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn benchmark`` and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="lit-cnn benchmark",
        description="Compare lit-cnn fit with loops written by hand: on the same network, images, batch and device.",
    )
    parser.add_argument(
        "--suite",
        choices=("speed", "optimisations", "decoding", "growth", "accuracy"),
        default="speed",
        help="speed: side by side; means: lit-cnn fit without each means of speed; decoding: JPEGs, as lit-cnn decodes them "
        "and in other ways; growth: time and memory of lit-cnn fit against images, size, batch, workers, processes; "
        "accuracy: LeNet on Fashion-MNIST by hand and by lit-cnn fit, on the CPU (default: %(default)s)",
    )
    parser.add_argument("--case", choices=CASES, action="append", help="one of the usual cases; repeatable (default: all)")
    parser.add_argument("--model", help="another case: a name of lit-cnn models")
    parser.add_argument(
        "--data",
        default="fashion_mnist",
        help="of it: fashion_mnist, synthetic (shaped as what the network was published for), or a folder of class folders",
    )
    parser.add_argument("--image_size", "--image-size", type=int, help="of it, in pixels (default: the variant's own)")
    parser.add_argument("--batch_size", "--batch-size", type=int, default=128, help="of it (default: %(default)s)")
    parser.add_argument("--phase", choices=("train", "eval"), default="train")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--compile",
        nargs="?",
        const="default",
        choices=get_args(Mode),
        help="torch.compile for lit_cnn and the ceiling, in one of its modes (default: %(const)s)",
    )
    parser.add_argument("--data_dir", default="data", help="where Fashion-MNIST lies; without it, synthetic images")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds over what is compared (default: %(default)s)")
    parser.add_argument("--output", help="JSON file for all that was measured, with the environment; growth adds a .png")
    options = parser.parse_args(arguments[1:])
    quiet()
    with one_line_errors():
        require_positive(repeats=options.repeats, batch_size=options.batch_size)
        if options.seconds <= 0:
            raise ValueError(f"seconds must be above 0, got {options.seconds}")
        if options.output and not Path(options.output).absolute().parent.is_dir():
            raise ValueError(f"there is no folder for the output {options.output}")
        if options.suite == "growth":
            for rows in measure_growth(options.device, options.repeats):
                save(options.output, growth=rows)
                if options.output:
                    plot_growth(rows, Path(options.output).with_suffix(".png"))
            print_growth(rows)
        elif options.suite == "decoding":
            with tempfile.TemporaryDirectory() as folder:
                make_folder(Path(folder))
                measured = measure_decoding(sorted(Path(folder).glob("*/*.jpg")), options.repeats)
            save(options.output, num_images=NUM_JPEGS, decoding=measured)
        elif options.suite == "accuracy":
            save(options.output, test_accuracy=compare_accuracy(options.data_dir))
        else:
            run(options)
    return 0


def save(output: str | None, **measured: Any) -> None:
    """Writes what was measured, with the environment, if a file was asked for."""
    if output:
        content = {"environment": environment(), "command": ["lit-cnn", *sys.argv[1:]], **measured}
        Path(output).write_text(json.dumps(content, indent=2) + "\n")


def run(options: argparse.Namespace) -> None:
    if options.model:
        if options.case:
            raise ValueError("--model is a case of its own: leave out --case")
        from lit_cnn.models import describe

        variant = find_variant(options.model)
        about = describe(variant)
        image_size = options.image_size or about.image_size
        case = Case(variant, options.data, image_size, options.batch_size)
        if options.data == "synthetic":
            case = replace(case, channels=about.in_channels, native_size=image_size, num_classes=about.num_classes)
        cases = {variant: case}
    else:
        cases = {name: CASES[name] for name in options.case or CASES}
    if options.phase == "eval":
        # lit-cnn decodes a folder before its first step, the loops by hand in each.
        cases = {name: case for name, case in cases.items() if case.data in ("fashion_mnist", "synthetic")}
        if not cases:
            raise ValueError("the evaluation of a folder is not measured: its images would be decoded in one arm alone")
    has_fashion_mnist = (Path(options.data_dir) / "FashionMNIST").is_dir()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases.items():
            data = case.data
            if data == "fashion_mnist" and not has_fashion_mnist:
                data = "synthetic"
            elif data == "folder":
                data = str(Path(folder) / "photos")
                make_folder(Path(data))
            elif data not in ("fashion_mnist", "synthetic") and not Path(data).is_dir():
                raise ValueError(f"data must be fashion_mnist, synthetic or a folder, got {data!r}")
            measured = replace(
                case,
                data=data,
                data_dir=options.data_dir,
                phase=options.phase,
                device=options.device,
                seconds=options.seconds,
                compile=options.compile,
            )
            if options.suite == "optimisations":
                results[name] = measure_optimisations(measured, options.repeats, run_arm)
                save(options.output, without=results)
                continue
            result = run_case(measured, options.repeats)
            if case.data == "folder":
                result["case"]["data"] = case.data  # and not the one that is gone by then
            result["summary"] = summarise(result)
            print_case(name, result, result["summary"])
            results[name] = result
            save(options.output, cases=results)
