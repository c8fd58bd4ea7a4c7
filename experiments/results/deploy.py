"""Measures what ``docs/deploy.md`` and ``docs/own-photos.md`` tell of exported networks, the server and wrong labels.

``python experiments/results/deploy.py --output experiments/results/deploy.json`` takes 15 minutes on two processors. Nothing
else should run beside it. Needs ``make extras``.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lit_cnn import Digits, FashionMNIST
from lit_cnn.analysis.provenance import describe_machine
from lit_cnn.export.load_test import measure, memory_of
from lit_cnn.system.json_files import write_object

ROOT = Path(__file__).parent.parent.parent
# Trained runs whose forms are measured: name in the table, and options of fit beside the recipe of ResNet-18.
NETWORKS = {
    "ResNet-18 at 32×32": [],
    "ResNet-18 at 224×224": ["--data.image_size", "224", "--trainer.max_epochs", "3"],
}
CLIENTS = (1, 8, 32)
NUM_REQUESTS = 2_000
NUM_STEADY_REQUESTS = 10_000
PORT = 8765
# Images of Fashion-MNIST, of which a share gets the label of another class.
NUM_LABELS = 6_000
SHARE_SWAPPED = 0.02
SEEDS = (0, 1, 2)


def lit_cnn(*arguments: object) -> None:
    """Runs a command of the program; its lines go to standard error."""
    words = [sys.executable, "-m", "lit_cnn", *map(str, arguments)]
    subprocess.run(words, check=True, stdout=sys.stderr, cwd=ROOT)


def train(folder: Path, name: str, *options: object) -> Path:
    lit_cnn("fit", *options, "--name", name, "--runs_dir", folder)
    (run,) = folder.glob(f"*/*/{name}")
    return run


def write_digits(folder: Path, number: int) -> list[Path]:
    """Test images of the handwritten digits as PNG files, of the size at which they are published."""
    images = Digits().read("test")
    paths = [folder / f"{index:03}.png" for index in range(number)]
    folder.mkdir()
    for path, pixels in zip(paths, images.fetch(torch.arange(number)).cpu(), strict=True):
        Image.fromarray(pixels[0].numpy()).save(path)
    return paths


@contextmanager
def server(run: Path) -> Iterator[int]:
    """Serves a run with one thread; gives the number of the process."""
    words = [sys.executable, "-m", "lit_cnn", "serve", "--run", run, "--port", PORT, "--threads", 1]
    process = subprocess.Popen([str(word) for word in words], stdout=sys.stderr, cwd=ROOT)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def load_of(run: Path, files: list[Path]) -> list[dict[str, Any]]:
    address, images = f"http://127.0.0.1:{PORT}", [path.read_bytes() for path in files]
    rows = []
    with server(run) as pid:
        for clients, requests in [*((number, NUM_REQUESTS) for number in CLIENTS), (8, NUM_STEADY_REQUESTS)]:
            before = memory_of(pid)
            load = measure(address, images, clients, requests)
            rows.append(
                {
                    "clients": clients,
                    "requests": requests,
                    "per_s": len(load.milliseconds) / load.seconds,
                    "p50_ms": load.percentile(0.5),
                    "p99_ms": load.percentile(0.99),
                    "wrong": len(load.problems),
                    "memory_before": before,
                    "memory_after": memory_of(pid),
                }
            )
    return rows


def classify(run: Path, images: Path, folder: Path) -> dict[str, float]:
    """Seconds of the whole command for a folder, with the script beside the ONNX file and with ``predict``."""
    commands = {
        "predict_onnx.py": [run / "export" / "predict_onnx.py", "--images", images, "--output", folder / "script.csv"],
        "lit-cnn predict": [
            "-m",
            "lit_cnn",
            "predict",
            "--run",
            run,
            "--images",
            images,
            "--output",
            folder / "predict.csv",
        ],
    }
    seconds = {}
    for name, words in commands.items():
        began = time.perf_counter()
        subprocess.run([sys.executable, *map(str, words)], check=True, stdout=sys.stderr, cwd=ROOT)
        seconds[name] = time.perf_counter() - began
    return seconds


def find_label_errors(data_dir: str, folder: Path, seed: int) -> dict[str, int]:
    """How many of the listed images have a swapped label, and how many swapped labels were listed."""
    images, random = FashionMNIST(data_dir=data_dir).read("train"), np.random.default_rng(seed)
    labels = images.labels.numpy()
    each = NUM_LABELS // 10
    chosen = np.concatenate([random.choice(np.flatnonzero(labels == label), each, replace=False) for label in range(10)])
    swapped = random.choice(chosen, round(SHARE_SWAPPED * len(chosen)), replace=False)
    given = labels.copy()
    given[swapped] = (labels[swapped] + random.integers(1, 10, len(swapped))) % 10
    photos = folder / f"swapped_{seed}"
    for number, pixels in zip(chosen, images.fetch(torch.from_numpy(chosen)).cpu(), strict=True):
        path = photos / str(given[number]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0].numpy()).save(path)
    settings = ["--model.lr", 0.05, "--trainer.max_epochs", 10, "--data.image_size", 28, "--seed_everything", seed]
    run = train(folder / f"labels_{seed}", "labels", "--model", "lenet_bn", "--data", photos, *settings)
    lit_cnn("label-errors", "--run", run)
    content = json.loads((run / "data.json").read_text())
    column = content["columns"].index("split")
    # No test image is looked at, so none of its labels can be found.
    searched = {Path(row[0]).name for row in content["files"] if row[column] != "test"}
    with (run / "label_errors.csv").open() as file:
        listed = [Path(row["file"]).name for row in csv.DictReader(file)]
    truly = {f"{number}.png" for number in swapped} & searched
    return {"listed": len(listed), "swapped": len(truly), "both": len(truly & set(listed))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data", help="where Fashion-MNIST is, or is downloaded to (default: data)")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    environment, forms = describe_machine(), {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        runs = {}
        for number, (network, settings) in enumerate(NETWORKS.items()):
            runs[network] = train(folder / str(number), "run", "--config", "experiments/digits/resnet.yaml", *settings)
            lit_cnn("bench-export", runs[network], "--output", folder / "forms.json")
            forms[network] = json.loads((folder / "forms.json").read_text())
        run = runs["ResNet-18 at 32×32"]
        files = write_digits(folder / "digits", 360)
        load = load_of(run, files[:16])
        lit_cnn("export", "--run", run)
        seconds = classify(run, files[0].parent, folder)
        found = []
        for seed in SEEDS:
            found.append(find_label_errors(options.data_dir, folder, seed))
            shutil.rmtree(folder / f"swapped_{seed}")
    write_object(
        options.output,
        {
            "environment": environment,
            "command": ["python", "experiments/results/deploy.py", *sys.argv[1:]],
            "forms": forms,
            "load": load,
            "files": len(files),
            "seconds": seconds,
            "label_errors": {"images": NUM_LABELS, "share": SHARE_SWAPPED, "seeds": found},
        },
    )


if __name__ == "__main__":
    main()
