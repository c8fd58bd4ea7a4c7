"""Weights that were trained on images which now validate or test are pointed out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Command
from pytorch_lightning import Trainer

from lit_cnn import Digits, LitLeNet
from lit_cnn.data import FakeImages

FIT = ("fit", "--model", "lenet", "--data.image_size", "28", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu")


def images_of(run: Path) -> dict[str, set[str]]:
    """Digests of the images of each split."""
    content = json.loads((run / "data.json").read_text(encoding="utf-8"))
    rows = [dict(zip(content["columns"], row, strict=True)) for row in content["files"]]
    return {split: {row["digest"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}


def test_photos_that_the_weights_were_trained_on(lit_cnn: Command, photos: Path, tmp_path: Path):
    runs = tmp_path / "runs" / "photos" / "lenet"
    fit = (*FIT, "--data", photos)
    assert lit_cnn(*fit, "--name", "first").returncode == 0
    from_first = (*fit, "--model.weights", runs / "first")
    same = lit_cnn(*from_first, "--name", "same")
    assert same.returncode == 0
    assert "were trained on" not in same.stderr
    with pytest.warns(UserWarning, match="were trained on") as warned:
        other = lit_cnn(*from_first, "--name", "other", "--data.test_fraction", "0.4", "--data.split_seed", "7")
    assert other.returncode == 0
    seen, now = images_of(runs / "first")["train"], images_of(runs / "other")
    num_val, num_test = len(seen & now["val"]), len(seen & now["test"])
    assert num_val
    assert num_test
    shares = f"{num_val} of {len(now['val'])} val images and {num_test} of {len(now['test'])} test images"
    message = f"the weights of the run {runs / 'first'} were trained on {shares}: the accuracy will be too high"
    assert str(warned[0].message).startswith(message)


def test_other_photos_are_not_pointed_out(lit_cnn: Command, photos: Path):
    assert lit_cnn(*FIT, "--data", photos, "--name", "first").returncode == 0
    for folder in photos.iterdir():
        for file in folder.iterdir():
            with file.open("ab") as photo:
                photo.write(b" ")  # another file of the same name
    weights = ("--model.weights", "runs/photos/lenet/first")
    done = lit_cnn(*FIT, "--data", photos, *weights, "--data.test_fraction", "0.4")
    assert done.returncode == 0
    assert "were trained on" not in done.stderr


def test_photos_where_the_weights_are_a_copy(lit_cnn: Command, photos: Path, tmp_path: Path):
    assert lit_cnn(*FIT, "--data", photos, "--name", "first").returncode == 0
    shutil.copy(tmp_path / "runs" / "photos" / "lenet" / "first" / "checkpoints" / "best.ckpt", tmp_path / "copy.ckpt")
    with pytest.warns(UserWarning, match=r"now validate \(divided with val_fraction 0\.1, now with val_fraction 0\.3\)"):
        done = lit_cnn(*FIT, "--data", photos, "--model.weights", "copy.ckpt", "--data.val_fraction", "0.3")
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({"split_seed": 1}, "set --data.split_seed 0"),
        ({"num_folds": 5, "fold": 2}, "leave out --data.num_folds, leave out --data.fold"),
    ],
    ids=str,
)
def test_a_dataset_that_is_divided_otherwise(
    tmp_path: Path, trainer: Callable[..., Trainer], arguments: dict[str, Any], remedy: str
):
    first = trainer(limit_train_batches=1)
    first.fit(LitLeNet(), datamodule=Digits(image_size=28))
    first.save_checkpoint(tmp_path / "first.ckpt")
    trainer(limit_train_batches=1).fit(LitLeNet(weights=tmp_path / "first.ckpt"), datamodule=Digits(image_size=28))
    other = Digits(image_size=28, **arguments)
    with pytest.warns(UserWarning, match=rf"first\.ckpt were trained on images that now validate.*; {remedy}"):
        trainer(limit_train_batches=1).fit(LitLeNet(weights=tmp_path / "first.ckpt"), datamodule=other)


def test_another_dataset_may_be_divided_as_it_likes(tmp_path: Path, trainer: Callable[..., Trainer]):
    first = trainer(limit_train_batches=1)
    first.fit(LitLeNet(), datamodule=FakeImages(num_images=64))
    first.save_checkpoint(tmp_path / "first.ckpt")
    data = FakeImages(num_images=80, split_seed=1)
    trainer(limit_train_batches=1).fit(LitLeNet(weights=tmp_path / "first.ckpt"), datamodule=data)
