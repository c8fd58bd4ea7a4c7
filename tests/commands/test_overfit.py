"""``lit-cnn doctor --overfit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command
from torch import Tensor, nn

from lit_cnn.commands import overfit
from lit_cnn.commands.overfit import check_overfit, choose_images, describe_course
from lit_cnn.data import Digits, FakeImages, ImageDataModule
from lit_cnn.data.finding import Finding
from lit_cnn.data.splits import ArrayImages
from lit_cnn.models import LitMLP
from lit_cnn.training.classifier import LitClassifier

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overfit, "MAX_STEPS", 40)


def set_up(data: ImageDataModule) -> ImageDataModule:
    data.prepare_data()
    data.setup("fit")
    return data


def check(*layers: nn.Module, lr: float = 0.01, data: ImageDataModule | None = None) -> Finding:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), *layers)
    data = data or set_up(FakeImages(num_images=80))
    return check_overfit(LitClassifier(network, data.num_classes, 1), data, lr, CPU)


def test_a_sound_network_learns_twenty_images():
    torch.manual_seed(0)
    found = check_overfit(LitMLP(), set_up(Digits(image_size=28)), 0.01, CPU)
    assert (found.level, found.subject) == ("ok", "overfit")
    assert found.text.startswith("the loss is 0.00")
    assert " on 20 images after " in found.text
    assert found.details["loss"] < 0.01
    assert found.details["images"] == 20


def test_dead_units_are_named():
    network = [nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10)]
    nn.init.constant_(network[0].bias, -1000)
    found = check(*network)
    assert found.level == "error"
    assert "not below 0.01: 100% of the units of 2 are zero" in found.text


def test_a_vanished_gradient_is_named():
    layers = [layer for _ in range(20) for layer in (nn.Linear(32, 32), nn.Sigmoid())]
    found = check(nn.Linear(784, 32), *layers, nn.Linear(32, 10))
    assert found.level == "error"
    assert "it vanishes on its way" in found.text


@pytest.mark.parametrize(("lr", "reason"), [(1e30, "grew beyond all bounds; try --lr 1e+29"), (1.0, "it has risen from ")])
def test_a_rate_that_is_too_high(lr: float, reason: str):
    found = check(nn.Linear(784, 32), nn.LeakyReLU(), nn.Linear(32, 10), lr=lr)
    assert found.level == "error"
    assert reason in found.text
    json.dumps(found.details, allow_nan=False)


def test_a_rate_that_is_too_low():
    found = check(nn.Linear(784, 32), nn.Tanh(), nn.Linear(32, 10), lr=1e-9)
    assert "it does not fall any more; try --lr 1e-08" in found.text


def test_a_slow_training():
    assert describe_course([2.0 - 0.01 * step for step in range(100)], 0.1).startswith("it still falls; try --lr 0.3")


@pytest.mark.parametrize("num_losses", [1, 2])
def test_a_training_that_the_time_ends_at_once(num_losses: int):
    assert describe_course([2.0] * num_losses, 0.1).startswith("it still falls; try --lr 0.3, smaller images")


def test_dropout_that_keeps_the_loss_up_is_no_error():
    found = check(nn.Linear(784, 64), nn.ReLU(), nn.Dropout(0.8), nn.Linear(64, 10))
    assert found.level == "warning"
    assert "dropout or BatchNorm alone keeps it up: in evaluation it is " in found.text


class Few(FakeImages):
    """As many images as there are."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        super().__init__(num_images=len(labels), num_classes=2, val_fraction=0.2)
        self.given = pixels, labels

    def read(self, split: Any) -> Any:
        return None if split == "val" else ArrayImages(*self.given)


def test_equal_images_with_different_labels_are_named():
    pixels = torch.randint(0, 256, (10, 1, 28, 28), dtype=torch.uint8)
    pixels[5] = pixels[4]
    found = check(nn.Linear(784, 2), data=set_up(Few(pixels, torch.arange(10) % 2)))
    assert found.level == "error"
    assert "(class 0) and " in found.text
    assert found.text.endswith(" (class 1) are the same image with different labels: correct one of them")


def test_fewer_images_are_all_taken():
    pixels = torch.randint(0, 256, (10, 1, 28, 28), dtype=torch.uint8)
    found = check(nn.Linear(784, 2), data=set_up(Few(pixels, torch.arange(10) % 2)))
    assert found.details["images"] == 8  # two validate


def test_each_class_gives_as_many_images_as_possible():
    labels = torch.tensor([0] * 90 + [1] * 3 + [2] * 50)
    chosen = labels[choose_images(labels)]
    assert torch.bincount(chosen).tolist() == [9, 3, 8]
    assert len(choose_images(torch.arange(30))) == 20
    assert choose_images(torch.tensor([1, 0, 1])).tolist() == [0, 1, 2]


def findings(lit_cnn: Command, *options: str | Path, status: int = 0) -> dict[str, dict[str, Any]]:
    done = lit_cnn("doctor", *options, "--model", "mlp", "--image_size", "28", "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return {finding["subject"]: finding for finding in json.loads(done.stdout)}


def test_the_command_trains_only_if_it_is_asked(lit_cnn: Command):
    assert "overfit" not in findings(lit_cnn, "--data", "digits")
    assert findings(lit_cnn, "--data", "digits", "--overfit")["overfit"]["level"] == "ok"
    failed = findings(lit_cnn, "--data", "digits", "--overfit", "--lr", "1e-9", status=1)["overfit"]
    assert failed["details"]["lr"] == 1e-9
    assert (
        "--lr is the learning rate of --overfit"
        in findings(lit_cnn, "--data", "digits", "--lr", "1", status=1)["data"]["text"]
    )
    for lr in ("0", "-1", "nan", "inf"):
        text = findings(lit_cnn, "--data", "digits", "--overfit", "--lr", lr, status=1)["data"]["text"]
        assert text == f"lr must be above 0, got {lr}"


def test_one_class_means_nothing():
    data = Few(torch.randint(0, 256, (10, 1, 28, 28), dtype=torch.uint8), torch.zeros(10, dtype=torch.long))
    found = check(nn.Linear(784, 2), data=set_up(data))
    assert found.level == "warning"
    assert found.text == "the 8 images have one class: any network learns that; it means nothing"
