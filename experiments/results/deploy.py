"""Measures what ``docs/deploy.md`` tells of exported networks and of the server.

``python experiments/results/deploy.py --output experiments/results/deploy.json`` takes 7 minutes on two processors. Nothing
else should run beside it. Needs ``make extras``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lit_cnn import Digits
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    environment, forms = describe_machine(), {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        runs = {}
        for number, (network, settings) in enumerate(NETWORKS.items()):
            runs[network] = train(folder / str(number), "run", "--config", "experiments/digits/resnet.yaml", *settings)
            lit_cnn("bench-export", "--run", runs[network], "--output", folder / "forms.json")
            forms[network] = json.loads((folder / "forms.json").read_text())
        run = runs["ResNet-18 at 32×32"]
        files = write_digits(folder / "digits", 360)
        load = load_of(run, files[:16])
        lit_cnn("export", "--run", run)
        seconds = classify(run, files[0].parent, folder)
    write_object(
        options.output,
        {
            "environment": environment,
            "command": ["python", "experiments/results/deploy.py", *sys.argv[1:]],
            "forms": forms,
            "load": load,
            "files": len(files),
            "seconds": seconds,
        },
    )


if __name__ == "__main__":
    main()
