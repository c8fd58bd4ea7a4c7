"""That speed costs no accuracy: LeNet on Fashion-MNIST, by the loop that tutorials teach and by ``lit-cnn fit``."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from lit_cnn.benchmark.arms import plain_loader
from lit_cnn.benchmark.case import Case
from lit_cnn.data import FashionMNIST
from lit_cnn.models import build

EPOCHS = 3
SEEDS = (0, 1, 2)
BATCH_SIZE = 256
LR, MOMENTUM, WEIGHT_DECAY = 0.05, 0.9, 5e-4


def train_plainly(data_dir: str, seed: int) -> float:
    """Test accuracy after some epochs in float32, image by image through Pillow; on the images that lit_cnn trains on."""
    torch.manual_seed(seed)
    case = Case("lenet", "fashion_mnist", 28, BATCH_SIZE, data_dir=data_dir)
    loader, num_classes, channels = plain_loader(case, num_workers=0)
    network = build("lenet", num_classes, channels)
    settings: dict[str, Any] = {"momentum": MOMENTUM, "nesterov": True, "weight_decay": WEIGHT_DECAY}
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, **settings)
    for _ in range(EPOCHS):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
    network.eval()
    test = FashionMNIST(data_dir).read("test")
    mean, std = FashionMNIST.mean[0], FashionMNIST.std[0]
    with torch.no_grad():
        predicted = network((test.pixels / 255 - mean) / std).argmax(dim=1)
    return (predicted == test.labels).float().mean().item()


def train_with_lit_cnn(data_dir: str, seed: int) -> float:
    """Test accuracy after the same epochs of ``lit-cnn fit``, of the last checkpoint as the plain loop has no other."""
    with tempfile.TemporaryDirectory() as folder:
        cpu = ["--trainer.accelerator", "cpu"]
        fit = ["fit", "--model", "LitLeNet", "--model.lr", str(LR), "--model.weight_decay", str(WEIGHT_DECAY)]
        fit += ["--model.schedule", "constant", "--data", "FashionMNIST", "--data.data_dir", data_dir]
        # The plain loop's images that train are those of the split seed 0.
        fit += ["--data.batch_size", str(BATCH_SIZE), "--data.split_seed", "0", "--seed_everything", str(seed)]
        _lit_cnn(*fit, *cpu, "--runs_dir", folder, "--trainer.max_epochs", str(EPOCHS))
        (run,) = Path(folder).glob("*/*/*")
        _lit_cnn("test", "--run", str(run), *cpu, "--ckpt_path", "last")
        return json.loads((run / "results.json").read_text())["test/acc"]


def _lit_cnn(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "lit_cnn", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChildProcessError(f"lit-cnn {arguments[0]} failed: {(done.stderr.strip() or 'no output').splitlines()[-1]}")


def compare_accuracy(data_dir: str) -> dict[str, list[float]]:
    """Test accuracies of both ways, a value for each seed; prints them.

    Raises:
        ValueError: If Fashion-MNIST is not in the folder.
    """
    if not (Path(data_dir) / "FashionMNIST").is_dir():
        raise ValueError(f"the comparison needs Fashion-MNIST, and it is not in {data_dir}: name its folder with --data_dir")
    found: dict[str, list[float]] = {"plain": [], "lit_cnn": []}
    for seed in SEEDS:
        found["plain"].append(train_plainly(data_dir, seed))
        found["lit_cnn"].append(train_with_lit_cnn(data_dir, seed))
    print(f"LeNet on Fashion-MNIST, {EPOCHS} epochs, test accuracy of seeds {', '.join(map(str, SEEDS))}")
    for arm, values in found.items():
        listed = ", ".join(f"{value:.2%}" for value in values)
        print(f"  {arm:8} {statistics.mean(values):.2%} ± {statistics.stdev(values):.2%} ({listed})", flush=True)
    return found
