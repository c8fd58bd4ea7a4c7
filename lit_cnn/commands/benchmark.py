"""``lit-cnn benchmark``: measures speed and accuracy on this machine, and prints tables of the results.

Imports nothing heavy before the options are read.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lit_cnn.benchmark.case import CASES, MADE_JPEGS, Case, make_case, with_images
from lit_cnn.commands.benchmark_options import parse
from lit_cnn.commands.messages import quiet
from lit_cnn.commands.tables import print_table


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn benchmark`` and returns the exit status."""
    options = parse(arguments[1:])
    suites: dict[str, Callable[[argparse.Namespace], None]] = {
        "speed": _speed,
        "optimisations": _optimisations,
        "decoding": _decoding,
        "augmentation": _augmentation,
        "growth": _growth,
        "accuracy": _accuracy,
        "recipes": _recipes,
    }
    quiet()
    if options.device is None:
        import torch

        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    suites[options.suite](options)
    return 0


def _report(line: str) -> None:
    print(line, flush=True)


def _cases(options: argparse.Namespace) -> Iterator[tuple[str, Case]]:
    """Cases, one after the other, with the settings that hold for all."""
    if options.model:
        case = make_case(options.model, options.data, options.image_size, options.batch_size)
        cases = {case.model: case}
    else:
        cases = {name: CASES[name] for name in options.case or CASES}
    settings = {name: getattr(options, name) for name in ("phase", "device", "seconds", "compile")}
    cases = {name: replace(case, data_dir=options.data_dir or "data", **settings) for name, case in cases.items()}
    return with_images(cases, _report)


def _speed(options: argparse.Namespace) -> None:
    from lit_cnn.analysis.provenance import save
    from lit_cnn.benchmark.speed import measure_speed, summarise

    results: dict[str, Any] = {}
    for name, case in _cases(options):
        result = measure_speed(case, options.repeats, _report, options.workers)
        if CASES.get(name) and CASES[name].data == MADE_JPEGS:
            result["case"]["data"] = MADE_JPEGS  # not the temporary folder
        result["summary"] = summarise(result)
        results[name] = result
        save(options.output, cases=results)
        _print_speed(name, result)


def _print_speed(name: str, result: dict[str, Any]) -> None:
    case, summary = result["case"], result["summary"]
    size = f"{case['image_size']}×{case['image_size']}"
    details = f"batches of {case['batch_size']}, {case['data']}, {case['phase']}, {case['device']}"
    print(f"\n{name}: {case['model']} at {size}, {details}")
    rows = []
    for arm in result["arms"]:
        row = summary[arm]
        memory = row.get("peak_device_memory_mb", row["peak_memory_mb"])
        spread = f"{row['lowest']:,.0f} to {row['highest']:,.0f}"
        rows.append((arm, f"{row['images_per_s']:,.0f}", spread, f"{row['first_step_s']:.1f} s", f"{memory:,.0f} MB"))
    columns = ("arm", "images/s", "lowest to highest", "first step after", "peak memory")
    print_table(columns, rows, right=columns[1:])
    print(", ".join(f"{ratio} {value:.2f}" for ratio, value in summary.items() if "/" in ratio))
    print(f"workers of plain and lightning: {result['workers']}; ceiling: {case['ceiling']}\n", flush=True)


def _optimisations(options: argparse.Namespace) -> None:
    from lit_cnn.analysis.provenance import save
    from lit_cnn.benchmark.optimisations import measure_optimisations

    results: dict[str, Any] = {}
    for name, case in _cases(options):
        results[name] = measure_optimisations(case, options.repeats, _report)
        save(options.output, phase=options.phase, without=results)
        print(f"\n{name}: {case.model} at {case.image_size}×{case.image_size}, {case.phase}")
        rows = [
            ("all optimisations" if without == "all" else f"without {without}", *_speed_and_gain(measured))
            for without, measured in results[name].items()
        ]
        print_table(("lit-cnn", "images/s", "gain"), rows, right=("images/s", "gain"))
        print(flush=True)


def _speed_and_gain(measured: dict[str, Any]) -> tuple[str, str]:
    gain = f"{measured['gain']:.2f}" if "gain" in measured else ""
    return f"{statistics.median(measured['images_per_s']):,.0f}", gain


def _decoding(options: argparse.Namespace) -> None:
    from lit_cnn.analysis.provenance import save
    from lit_cnn.benchmark.decoding import measure_decoding
    from lit_cnn.benchmark.photos import NUM_JPEGS, make_folder

    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder))
        results = measure_decoding(sorted(Path(folder).glob("*/*.jpg")), options.repeats, _report)
    save(options.output, num_images=NUM_JPEGS, decoding=results)
    rows = [
        (f"{size}×{size}", way, *_speed_and_gain(measured))
        for size, ways in results.items()
        for way, measured in ways.items()
    ]
    print()
    print_table(("size", "decoder", "images/s", "lit-cnn is faster by"), rows, right=("images/s", "lit-cnn is faster by"))


def _augmentation(options: argparse.Namespace) -> None:
    from lit_cnn.analysis.provenance import save
    from lit_cnn.benchmark.augmentation import measure_augmentation, medians
    from lit_cnn.system.memory import keep_freed_memory

    keep_freed_memory()  # as lit-cnn fit does
    measured = measure_augmentation(options.device, options.seconds, options.repeats, _report)
    save(options.output, augmentation=measured)
    columns = ("images/s", *measured["operations"])
    rows = [(name, *(f"{speed:,.0f}" if speed else "" for speed in speeds)) for name, speeds in medians(measured)]
    print()
    print_table(columns, rows, right=columns[1:])
    print()
    rows = [(name, f"{statistics.median(shares):.1%}") for name, shares in measured["presets"].items()]
    print_table(("preset, photographs", "of a step of ResNet-18 at 96×96"), rows, right=("of a step of ResNet-18 at 96×96",))


def _growth(options: argparse.Namespace) -> None:
    from lit_cnn.analysis.provenance import save
    from lit_cnn.benchmark.growth import measure_growth, plot_growth

    for rows in measure_growth(options.device, options.repeats, _report):
        save(options.output, growth=rows)
        if options.output:
            plot_growth(rows, Path(options.output).with_suffix(".png"))
    columns = ("axis", "value", "command", "training", "images/s", "peak memory")
    cells = [
        (
            axis,
            f"{point['value']:,}",
            f"{point['command_s']:,.1f} s",
            f"{point['training_s']:,.1f} s",
            f"{point['images_per_s']:,.0f}",
            f"{point['peak_memory_mb']:,.0f} MB",
        )
        for axis, points in rows.items()
        for point in points
    ]
    print("\nmedians of all rounds")
    print_table(columns, cells, right=columns[1:])


def _accuracy(options: argparse.Namespace) -> None:
    from lit_cnn.analysis.provenance import save
    from lit_cnn.benchmark.accuracy import EPOCHS, compare_accuracy

    accuracies = compare_accuracy(options.data_dir or "data", _report)
    save(options.output, epochs=EPOCHS, test_accuracy=accuracies)
    print(f"\nLeNet on Fashion-MNIST, {EPOCHS} epochs, {len(accuracies['plain'])} seeds")
    rows = [(arm, _mean_and_sd(statistics.mean(values), statistics.stdev(values))) for arm, values in accuracies.items()]
    print_table(("arm", "test accuracy"), rows)


def _mean_and_sd(mean: float, sd: float | None) -> str:
    return f"{mean:.2%}" + (f" ± {sd:.2%}" if sd is not None else "")


def _recipes(options: argparse.Namespace) -> None:
    from lit_cnn.benchmark.leaderboard import summarise_recipes
    from lit_cnn.benchmark.recipes import find_recipes, measure_recipes

    recipes = find_recipes(options.recipe)
    settings = {name: getattr(options, name) for name in ("output", "device", "data_dir", "epochs", "runs_dir")}
    runs = measure_recipes(recipes, options.seeds, _report, **settings)
    columns = ("recipe", "epochs", "seeds", "test accuracy", "val accuracy", "training", "images/s")
    rows = [
        (
            row.recipe,
            row.epochs,
            ", ".join(map(str, row.seeds)),
            _mean_and_sd(row.mean, row.sd),
            f"{row.val_mean:.2%}",
            f"{row.seconds:,.0f} s",
            f"{row.images_per_s:,.0f}",
        )
        for row in summarise_recipes(runs)
    ]
    print()
    print_table(columns, rows, right=columns[3:])
