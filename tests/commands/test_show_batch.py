"""``lit-cnn show-batch``: the picture shows the images and the numbers of the training's first batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command
from PIL import Image
from pytorch_lightning import Trainer

from lit_cnn import LitLeNet
from lit_cnn.commands import show_batch
from lit_cnn.commands.arguments import prepare
from lit_cnn.commands.cli import CLI
from lit_cnn.data import Digits
from lit_cnn.data.augment import Augment
from lit_cnn.data.loader import Batch

OPTIONS = ["--model", "lenet", "--data", "digits", "--data.image_size", "28", "--data.batch_size", "16"]
STRONG = ["--data.augment", "strong", "--data.augment.mixup", "0.2"]


class Recording(LitLeNet):
    """Keeps the first batch of each epoch."""

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        if batch_idx == 0:
            self.__dict__.setdefault("first", []).append(batch)
        return super().training_step(batch, batch_idx)


def test_the_batch_is_that_of_the_training(trainer: Callable[..., Trainer]):
    recording = Recording()
    data = Digits(image_size=28, batch_size=16, augment=Augment("strong", mixup=0.2), seed=3)
    trainer(max_epochs=2, limit_train_batches=1).fit(recording, datamodule=data)
    cli = CLI("fit", prepare("fit", *OPTIONS, *STRONG, "--data.seed", "3")[1:])
    for epoch, expected in enumerate(recording.__dict__["first"]):
        stored, seen = show_batch.first_batch(cli, epoch)
        for ours, theirs in zip(seen, expected, strict=True):
            assert torch.equal(ours, theirs)
        assert stored.images.shape == (16, 1, 8, 8)
    assert not torch.equal(recording.__dict__["first"][0].images, recording.__dict__["first"][1].images)


def test_it_writes_one_picture_and_nothing_else(lit_cnn: Command, tmp_path: Path):
    done = lit_cnn("show-batch", *OPTIONS, *STRONG, "--num_images", "3", "--epoch", "2")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["batch.png"]
    assert done.stdout.splitlines()[0] == "3 images of epoch 2 of digits: batch.png"
    assert "augmentation: " in done.stdout
    with Image.open(tmp_path / "batch.png") as image:
        assert image.width > image.height > 200
        assert len(np.unique(np.asarray(image))) > 20


def test_photographs_are_shown_in_colour_with_their_frame(lit_cnn: Command, photos: Path, tmp_path: Path):
    (photos / "cat").rename(photos / "$c_a^t$")
    options = ["--model", "lenet", "--data", str(photos), "--data.image_size", "28", "--data.augment", "standard"]
    done = lit_cnn("show-batch", *options, "--num_images", "12", "--output", "shown.png")
    assert done.returncode == 0, done.stderr
    assert "within frames of 35×35" in done.stdout
    pixels = np.asarray(Image.open(tmp_path / "shown.png"))
    assert pixels.shape[2] == 3
    assert (pixels.max(2) != pixels.min(2)).any()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num_images", "0"], "--num_images must be at least 1, got 0"),
        (["--epoch", "-1"], "--epoch must be at least 0, got -1"),
        (["--output", "batch.jpg"], "--output is a picture, whose name ends in .png, got batch.jpg"),
        (["--output", "none/batch.png"], "there is no folder for the output none/batch.png"),
        ([*OPTIONS, "--name", "a"], "show-batch trains nothing and makes no run: leave out --name"),
        ([*OPTIONS, "--seeds", "2"], "show-batch trains nothing and makes no run: leave out --seeds"),
        ([*OPTIONS, "--num_image", "2"], "unknown option --num_image"),
        (
            [*OPTIONS, "--trainer.overfit_batches", "1"],
            "with trainer.overfit_batches, images are neither shuffled nor augmented: leave it out",
        ),
        ([], "--model"),
    ],
)
def test_what_cannot_be_shown_is_one_line(lit_cnn: Command, options: list[str], message: str, tmp_path: Path):
    done = lit_cnn("show-batch", *options)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
