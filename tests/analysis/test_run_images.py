"""The images behind the predictions of a run: found again, or the reason why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import write_photos

from lit_cnn.analysis.run_images import images_of
from lit_cnn.data import Digits, ImageFolder
from lit_cnn.data.module import ImageDataModule
from lit_cnn.runs.folder import Run
from lit_cnn.runs.predictions import RunPredictions


def make_run(folder: Path, data: ImageDataModule, split: str, **settings: object) -> tuple[Run, RunPredictions]:
    """A run that was trained on a dataset, as far as its images are concerned."""
    run = Run(folder / "run")
    run.path.mkdir()
    arguments = {name: value for name, value in data.hparams.items() if value is not None} | settings
    class_path = f"lit_cnn.{type(data).__name__}"
    config = {"seed_everything": 3, "data": {"class_path": class_path, "init_args": arguments}}
    run.config.write_text(yaml.dump(config), encoding="utf-8")
    data.setup("validate")
    data.setup("test")
    data.write_manifest(run.path / "data.json")
    images = data.splits[split]
    labels = images.labels.numpy()
    names = [images.name(position) for position in range(len(labels))]
    run.results.write_text(json.dumps({"test/acc": 1.0, "test/digest": data.test_digest}), encoding="utf-8")
    logits = np.eye(data.num_classes, dtype=np.float32)[labels]
    return run, RunPredictions(names, labels, logits, data.class_names)


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_images_of_a_split_are_found_again(tmp_path: Path, split: str):
    data = Digits(seed=3)
    run, predictions = make_run(tmp_path, data, split, seed=None)
    found = images_of(run, split, predictions)
    positions = np.arange(len(predictions))
    assert (found.fetch(positions) == data.splits[split].fetch(positions)).all()


def test_another_division_is_refused(tmp_path: Path):
    run, predictions = make_run(tmp_path, Digits(seed=4), "val", seed=None)
    with pytest.raises(ValueError, match="other images"):
        images_of(run, "val", predictions)


@pytest.mark.parametrize("split", ["val", "test"])
def test_photos_are_found_again_beside_new_ones(tmp_path: Path, split: str):
    write_photos(tmp_path / "photos", ("ant", "bee"), 20)
    arguments = {"data_dir": str(tmp_path / "photos"), "image_size": 16, "cache_dir": None, "num_workers": 0}
    run, predictions = make_run(tmp_path, ImageFolder(**arguments), split)
    write_photos(tmp_path / "more" / "photos", ("ant",), 30)
    for path in (tmp_path / "more" / "photos" / "ant").iterdir():
        path.rename(tmp_path / "photos" / "ant" / f"new_{path.name}")
    with pytest.warns(UserWarning, match="new"):
        found = images_of(run, split, predictions)
    assert [found.name(position) for position in range(len(predictions))] == list(predictions.images)


def test_images_that_are_gone_are_no_images(tmp_path: Path):
    write_photos(tmp_path / "photos", ("ant", "bee"), 20)
    arguments = {"data_dir": str(tmp_path / "photos"), "image_size": 16, "cache_dir": None, "num_workers": 0}
    run, predictions = make_run(tmp_path, ImageFolder(**arguments), "val")
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="photos"):
        images_of(run, "val", predictions)


def test_images_that_must_be_downloaded_are_no_images(tmp_path: Path):
    run, predictions = make_run(tmp_path, Digits(seed=3), "test")
    config = {"seed_everything": 3, "data": {"class_path": "lit_cnn.MNIST", "init_args": {"data_dir": str(tmp_path)}}}
    run.config.write_text(yaml.dump(config), encoding="utf-8")
    with pytest.raises(ValueError, match="not there"):
        images_of(run, "test", predictions)


@pytest.mark.parametrize("class_path", ["os.system", "lit_cnn.data.Nothing", "lit_cnn.LitLeNet", "lit_cnn.data.names"])
def test_only_datasets_of_ours_are_made(tmp_path: Path, class_path: str):
    run, predictions = make_run(tmp_path, Digits(seed=3), "test")
    run.config.write_text(yaml.dump({"data": {"class_path": class_path, "init_args": {}}}), encoding="utf-8")
    with pytest.raises(ValueError, match=f"made by {class_path}, which is none of lit_cnn's"):
        images_of(run, "test", predictions)


@pytest.mark.parametrize("text", ["data: [", "", "data: 3"])
def test_a_damaged_configuration_is_named(tmp_path: Path, text: str):
    run, predictions = make_run(tmp_path, Digits(seed=3), "test")
    run.config.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.yaml"):
        images_of(run, "test", predictions)
