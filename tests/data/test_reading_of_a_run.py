"""Files are read in prediction and in every test as they were in training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command, write_photos
from PIL import Image
from pytorch_lightning import Trainer

from lit_cnn import LitLeNet, load_run
from lit_cnn.data import ImageFolder
from lit_cnn.data.earlier_reading import EarlierReading, trained_reading
from lit_cnn.data.manifest import Manifest
from lit_cnn.data.reading import Reading
from lit_cnn.runs.format import CHECKPOINT_KEY


def write_deep(folder: Path, top: int, start: int = 0, width: int = 60) -> Path:
    """Two classes of grey images whose values are at most ``top``."""
    for label, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.random.default_rng([start, label, number]).random((30, width)) * (0.4 + 0.6 * label)
            pixels[0, 0] = 1
            Image.fromarray((pixels * top).astype(np.uint16)).save(folder / name / f"{number}.png")
    return folder


def folder_of(path: Path, **arguments: object) -> ImageFolder:
    return ImageFolder(str(path), **{"image_size": 28, "cache_dir": None} | arguments)


def train(engine: Trainer, data: ImageFolder, run: Path) -> Path:
    """The checkpoint of a training."""
    engine.fit(LitLeNet(2, 1), datamodule=data)
    engine.save_checkpoint(run / "checkpoints" / "last.ckpt")
    data.write_manifest(run / "data.json")
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture
def trained(tmp_path: Path, trainer: Callable[..., Trainer]) -> Path:
    """A checkpoint of a training on images of 12 bits, padded with black."""
    data = folder_of(write_deep(tmp_path / "deep", 4095), resize="pad", background="black")
    return train(trainer(max_epochs=1), data, tmp_path / "run")


def test_the_range_is_that_of_the_training_images(tmp_path: Path):
    data = folder_of(write_deep(tmp_path / "deep", 4095), value_range=None)
    assert data.reading == Reading(28, 1, value_range=(0, 4095))
    data.write_manifest(tmp_path / "data.json")
    assert Manifest.read(tmp_path / "data.json") == data.manifest
    # A run keeps it, whatever comes later.
    Image.fromarray(np.full((30, 30), 60_000, np.uint16)).save(tmp_path / "deep" / "dark" / "new.png")
    with pytest.warns(UserWarning, match="1 image added after the run began, left out: dark/new"):
        assert folder_of(tmp_path / "deep", manifest=str(tmp_path / "data.json")).reading.value_range == (0, 4095)
    assert folder_of(tmp_path / "deep", value_range=(0, 500)).reading.value_range == (0, 500)


def test_prediction_reads_as_training_did(trained: Path, tmp_path: Path):
    run = load_run(trained)
    assert run.reading == Reading(28, 1, "pad", "black", (0, 4095))
    file = tmp_path / "deep" / "light" / "3.png"
    with Image.open(file) as image:
        forms = [file, str(file), image, np.asarray(image)]
        values = [run.predict(form).values for form in forms]
    expected = run.classifier(run.preprocess(run.reading.read(file)[None])).softmax(1)[0].detach().numpy()
    for value in values:
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-6)
    # An image that alone would have another range.
    Image.fromarray(np.full((28, 28), 200, np.uint16)).save(tmp_path / "dim.png")
    assert run.reading.read(tmp_path / "dim.png").unique().tolist() == [12]


def test_another_dataset_is_read_with_the_range_of_the_checkpoint(trained: Path, tmp_path: Path, trainer):
    other = folder_of(write_deep(tmp_path / "other", 65535, start=7), resize="pad", background="black")
    assert other.reading.value_range == (0, 65535)
    with pytest.warns(UserWarning, match="cross-dataset evaluation"):
        trainer().test(LitLeNet(2, 1), datamodule=other, ckpt_path=trained, weights_only=True, verbose=False)
    assert other.reading.value_range == (0, 4095)
    images = other.splits["test"]
    first = images.fetch(torch.tensor([0]))[0]
    assert torch.equal(first, Reading(28, 1, "pad", "black", (0, 4095)).read(Path(images.name(0))))


def test_another_dataset_is_read_without_a_range_if_the_checkpoint_has_none(tmp_path: Path, trainer):
    write_photos(tmp_path / "flat", ("dark", "light"), 10, grey=True)
    flat = train(trainer(max_epochs=1), folder_of(tmp_path / "flat"), tmp_path / "run")
    other = folder_of(write_deep(tmp_path / "other", 4095))
    Image.fromarray(np.full((30, 30), 60_000, np.uint16)).save(tmp_path / "other" / "dark" / "bright.png")
    assert other.reading.value_range == (0, 65535)
    with pytest.warns(UserWarning, match="cross-dataset evaluation"):
        trainer().test(LitLeNet(2, 1), datamodule=other, ckpt_path=flat, weights_only=True, verbose=False)
    run = load_run(flat)
    assert other.reading == run.reading == Reading(28, 1)
    images = other.splits["test"]
    for number in range(len(images.labels)):
        assert torch.equal(images.fetch(torch.tensor([number]))[0], run.reading.read(Path(images.name(number))))


def test_the_next_checkpoint_brings_its_own_range(trained: Path, tmp_path: Path, trainer):
    brighter = folder_of(write_deep(tmp_path / "brighter", 16383, start=3), resize="pad", background="black")
    last = train(trainer(max_epochs=1), brighter, tmp_path / "next")
    other = folder_of(write_deep(tmp_path / "other", 65535, start=7), resize="pad", background="black")
    for checkpoint, top in ((trained, 4095), (last, 16383)):
        with pytest.warns(UserWarning, match="cross-dataset evaluation"):
            trainer().test(LitLeNet(2, 1), datamodule=other, ckpt_path=checkpoint, weights_only=True, verbose=False)
        assert other.reading.value_range == (0, top)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "black"}, "trained with data.resize=pad, which it needs: set data.resize=pad"),
        ({"resize": "pad"}, "trained with data.background=black, which it needs"),
        (
            {"resize": "pad", "background": "black", "value_range": (0, 255)},
            r"trained with data.value_range=\[0.0, 4095.0\], which it needs",
        ),
    ],
)
def test_other_options_than_those_of_the_training_are_refused(trained: Path, tmp_path: Path, trainer, options, message):
    data = folder_of(tmp_path / "deep", **options)
    with pytest.raises(ValueError, match=message):
        trainer().test(LitLeNet(2, 1), datamodule=data, ckpt_path=trained, weights_only=True, verbose=False)


@pytest.mark.parametrize("options", [{"resize": "fit"}, {"background": "blue"}, {"value_range": (3, 3)}])
def test_options_are_checked_before_files_are_read(options: dict):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        ImageFolder("nowhere", **options)


def test_each_way_of_reading_has_its_own_decoded_file(tmp_path: Path):
    photos, cache = write_deep(tmp_path / "deep", 1023), tmp_path / "cache"
    range_only = {"value_range": (0, 500)}
    for options in ({}, {"resize": "pad"}, {"resize": "squash", "background": "black"}, range_only, {}):
        data = folder_of(photos, cache_dir=str(cache), **options)
        data.setup("fit")
        train = data.splits["train"]
        assert torch.equal(train.fetch(torch.tensor([0]))[0], data.reading.read(Path(train.name(0))))
    names = sorted(path.name.split("-28x1")[0].split("-train")[1] for path in cache.glob("*.uint8"))
    assert names == ["-0to1023", "-0to500", "-pad-0to1023", "-squash-black-0to1023"]


@pytest.mark.parametrize("mode", ["I;16", "F", "RGBA", "P", "LA", "RGB"])
def test_a_run_of_an_earlier_version_keeps_its_pixels(trained: Path, tmp_path: Path, mode: str):
    checkpoint = torch.load(trained, weights_only=True)
    data = checkpoint[checkpoint[CHECKPOINT_KEY]["data_key"]]
    del data["reading"]
    torch.save(checkpoint, trained)
    run = load_run(trained)
    values = np.random.default_rng(0).integers(0, 65536, (28, 28))
    if mode == "I;16":
        image, expected = Image.fromarray(values.astype(np.uint16)), values // 257
    elif mode == "F":
        image, expected = Image.fromarray((values / 200).astype(np.float32)), (values / 200).clip(0, 255).astype(np.uint8)
    else:
        image = Image.fromarray((values // 257).astype(np.uint8)).convert(mode)
        if "A" in mode:
            image.putalpha(0)
        expected = np.asarray(image.convert("L"))
    path = tmp_path / ("a.tif" if mode == "F" else "a.png")
    image.save(path)
    assert run.reading.read(path)[0].tolist() == expected.tolist()
    # A training that is resumed keeps them too, and says so in its checkpoints.
    assert trained_reading(28, 1, {"reading": run.reading.options}) == run.reading


def test_a_run_of_an_earlier_version_can_be_tested(trained: Path, tmp_path: Path, trainer):
    checkpoint = torch.load(trained, weights_only=True)
    del checkpoint[checkpoint[CHECKPOINT_KEY]["data_key"]]["reading"]
    torch.save(checkpoint, trained)
    data = folder_of(tmp_path / "deep")
    trainer().test(LitLeNet(2, 1), datamodule=data, ckpt_path=trained, weights_only=True, verbose=False)
    assert isinstance(data.reading, EarlierReading)
    images = data.splits["test"]
    assert torch.equal(images.fetch(torch.tensor([0]))[0], load_run(trained).reading.read(Path(images.name(0))))


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "gif"])
def test_an_opened_image_is_read_as_its_file(trained: Path, tmp_path: Path, ending: str):
    run = load_run(trained)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"turned.{ending}"
    picture = np.random.default_rng(0).integers(0, 256, (20, 50)).astype(np.uint8)
    Image.fromarray(picture).save(path, **({} if ending == "gif" else {"exif": exif}))
    with Image.open(path) as image:
        np.testing.assert_array_equal(run.predict(image).values, run.predict(path).values)


@pytest.mark.slow
def test_the_options_of_the_command_line_stay_with_the_run(lit_cnn: Command, tmp_path: Path):
    write_deep(tmp_path / "deep", 4095)
    options = ["--model", "LitLeNet", "--data.image_size", "28", "--data.value_range", "[0,2000]", "--data.resize", "squash"]
    done = lit_cnn("fit", "--data", "deep", *options, "--trainer.max_epochs", "1")
    assert done.returncode == 0, done.stderr
    (run,) = (path.parent for path in tmp_path.rglob("config.yaml"))
    assert load_run(run).reading == Reading(28, 1, "squash", "white", (0, 2000))
    for command in (("test", "--run", run), ("fit", "--run", run, "--trainer.max_epochs", "2")):
        done = lit_cnn(*command)
        assert done.returncode == 0, done.stderr
    done = lit_cnn("fit", "--run", run, "--trainer.max_epochs", "3", "--data.value_range", "[0,100]")
    assert done.returncode == 2
    assert "data.value_range" in done.stderr
    write_deep(tmp_path / "other", 65535, start=7)
    done = lit_cnn("test", "--run", run, "--data", "other")
    assert done.returncode == 0, done.stderr
