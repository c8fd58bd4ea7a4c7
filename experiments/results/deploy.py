"""Measures what ``docs/deploy.md`` tells of exported networks and of the server.

``python experiments/results/deploy.py --output experiments/results/deploy.json`` takes 7 minutes on two processors. Nothing
else should run beside it. Needs ``make extras``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import program
import torch
from PIL import Image

from lit_cnn import Digits
from lit_cnn.analysis.provenance import describe_machine
from lit_cnn.export.load_test import measure, memory_of
from lit_cnn.runs.environment import without_folders
from lit_cnn.system.json_files import write_object

# Trained runs whose forms are measured: name in the table, and options of fit beside the recipe of ResNet-18.
NETWORKS = {
    "ResNet-18 at 32×32": [],
    "ResNet-18 at 224×224": ["--data.image_size", "224", "--trainer.max_epochs", "3"],
}
CLIENTS = (1, 8, 32)
NUM_REQUESTS = 2_000
NUM_STEADY_REQUESTS = 10_000
PORT = 8765


def train(folder: Path, name: str, *options: object) -> Path:
    program.run("fit", *options, "--name", name, "--runs_dir", folder)
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


@contextlib.contextmanager
def server(run: Path) -> Iterator[int]:
    """Serves a run with one thread; gives the number of the process."""
    words = program.words_of("serve", "--run", run, "--port", PORT, "--threads", 1)
    process = subprocess.Popen(words, stdout=sys.stderr, cwd=program.ROOT)
    try:
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=1)
                break
            time.sleep(0.5)
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with status {process.returncode}")
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
    given = ["--images", images, "--output"]
    commands = {
        "predict_onnx.py": [sys.executable, run / "export" / "predict_onnx.py", *given, folder / "script.csv"],
        "lit-cnn predict": program.words_of("predict", "--run", run, *given, folder / "predict.csv"),
    }
    seconds = {}
    for name, words in commands.items():
        began = time.perf_counter()
        subprocess.run(words, check=True, stdout=sys.stderr, cwd=program.ROOT)
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
            program.run("bench-export", "--run", runs[network], "--output", folder / "forms.json")
            forms[network] = json.loads((folder / "forms.json").read_text())
        run = runs["ResNet-18 at 32×32"]
        files = write_digits(folder / "digits", 360)
        load = load_of(run, files[:16])
        program.run("export", "--run", run)
        seconds = classify(run, files[0].parent, folder)
    write_object(
        options.output,
        {
            "environment": environment,
            "command": ["python", "experiments/results/deploy.py", *without_folders(sys.argv[1:])],
            "forms": forms,
            "load": load,
            "files": len(files),
            "seconds": seconds,
        },
    )


if __name__ == "__main__":
    main()
