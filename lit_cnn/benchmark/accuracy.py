"""Does speed cost accuracy? LeNet on Fashion-MNIST by the loop that tutorials teach, and by ``lit-cnn fit``."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from lit_cnn.analysis.provenance import Report
from lit_cnn.benchmark.arms import plain_loader
from lit_cnn.benchmark.case import Case
from lit_cnn.benchmark.process import run_lit_cnn
from lit_cnn.data import FashionMNIST
from lit_cnn.models import build

EPOCHS = 3
SEEDS = (0, 1, 2)
BATCH_SIZE = 256
LR, MOMENTUM, WEIGHT_DECAY = 0.05, 0.9, 5e-4


def train_plainly(data_dir: str, seed: int) -> float:
    """Test accuracy of a loop by hand: float32, one image at a time through Pillow, the same training images as lit_cnn."""
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
    """Test accuracy of ``lit-cnn fit`` after the same epochs, of the last checkpoint: the plain loop has no other."""
    with tempfile.TemporaryDirectory() as folder:
        cpu = ["--trainer.accelerator", "cpu"]
        fit = ["fit", "--model", "LitLeNet", "--model.lr", str(LR), "--model.weight_decay", str(WEIGHT_DECAY)]
        fit += ["--model.schedule", "constant", "--data", "FashionMNIST", "--data.data_dir", data_dir]
        # The plain loop trains on the images of split seed 0.
        fit += ["--data.batch_size", str(BATCH_SIZE), "--data.split_seed", "0", "--seed_everything", str(seed)]
        run_lit_cnn(*fit, *cpu, "--runs_dir", folder, "--trainer.max_epochs", str(EPOCHS))
        (run,) = Path(folder).glob("*/*/*")
        run_lit_cnn("test", "--run", str(run), *cpu, "--ckpt_path", "last")
        return json.loads((run / "results.json").read_text(encoding="utf-8"))["test/acc"]


def compare_accuracy(data_dir: str, report: Report) -> dict[str, list[float]]:
    """Test accuracies of both ways, a value for each seed.

    Raises:
        ValueError: If Fashion-MNIST is not in the folder.
    """
    if not (Path(data_dir) / "FashionMNIST").is_dir():
        raise ValueError(f"this suite needs Fashion-MNIST, which is not in {data_dir}: name its folder with --data_dir")
    accuracies: dict[str, list[float]] = {"plain": [], "lit_cnn": []}
    for seed in SEEDS:
        for arm, train in (("plain", train_plainly), ("lit_cnn", train_with_lit_cnn)):
            accuracies[arm].append(train(data_dir, seed))
            report(f"{arm}, seed {seed}: test accuracy {accuracies[arm][-1]:.2%}")
    return accuracies
