"""The frame: what training, evaluation and prediction see of a photograph that is stored larger than they need it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command
from PIL import Image
from pytorch_lightning import Trainer
from torch import Tensor

from lit_cnn import LitLeNet, load_run
from lit_cnn.data import ImageFolder, ImageTable
from lit_cnn.data.augment import Augment
from lit_cnn.data.reading import Reading, read_image
from lit_cnn.runs.folder import Run
from lit_cnn.runs.format import CHECKPOINT_KEY

SIDE, STORED, START = 28, 35, 4  # a frame of 1.25 around images of 28 pixels
RED = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]


def folder(path: Path, **arguments: Any) -> ImageFolder:
    return ImageFolder(str(path), **{"image_size": SIDE, "cache_dir": None, "flip": False, "batch_size": 8} | arguments)


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """Two classes of photographs whose centre is grey and whose border, which only the frame holds, is red."""
    place = tmp_path / "marked"
    for label, name in enumerate(("ant", "bee")):
        (place / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.zeros((STORED, STORED, 3), np.uint8)
            pixels[..., 0] = 255
            inner = np.random.default_rng([label, number]).integers(50, 200, (SIDE, SIDE, 1))
            pixels[START : START + SIDE, START : START + SIDE] = inner
            Image.fromarray(pixels).save(place / name / f"{number}.png")
    return place


def training_images(data: ImageFolder) -> tuple[Tensor, Tensor]:
    """The first batch as it is stored and as the network sees it, on the scale of 0 to 255."""
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    seen = data.preprocessing.to_display(data.on_after_batch_transfer(batch, 0).images) * 255
    return batch.images, seen.round().to(torch.uint8)


def has_red(images: Tensor) -> Tensor:
    return ((images[:, 0] > 230) & (images[:, 1] < 30)).flatten(1).any(1)


def centres(images: Tensor) -> Tensor:
    return images[..., START : START + SIDE, START : START + SIDE]


def test_evaluation_sees_the_centre(marked: Path):
    data = folder(marked, frame=1.25)
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    assert batch.images.shape[-2:] == (STORED, STORED)
    assert has_red(batch.images).all()
    seen = data.on_after_batch_transfer(batch, 0).images
    assert torch.equal((data.preprocessing.to_display(seen) * 255).round().to(torch.uint8), centres(batch.images))


@pytest.mark.parametrize("arguments", [{}, {"flip": True}, {"augment": Augment(brightness=1e-9)}])
def test_training_without_crops_sees_the_centre(marked: Path, arguments: dict[str, Any]):
    stored, seen = training_images(folder(marked, **{"frame": 1.25, "augment": "none"} | arguments))
    assert stored.shape[-1] == STORED
    expected = centres(stored)
    mirrored = (seen == expected.flip(3)).flatten(1).all(1)
    as_stored = (seen.int() - expected.int()).abs().flatten(1).amax(1) <= ("augment" in arguments)
    assert (as_stored | mirrored).all()
    assert mirrored.any() == ("flip" in arguments)


def test_shifts_stay_within_the_frame(marked: Path):
    _, seen = training_images(folder(marked, frame=1.25, augment="none", crop_padding=3))
    assert has_red(seen).any()
    assert seen[:, 0].min() >= 50  # nothing is black
    _, seen = training_images(folder(marked, frame=1.25, augment="none", crop_padding=20))
    assert seen[:, 0].min() == 0  # a shift beyond the frame


def test_shifts_leave_something_of_photographs(marked: Path):
    with pytest.raises(ValueError, match=f"crop_padding={SIDE} moves images of {SIDE}×{SIDE} out of sight: give less"):
        folder(marked, augment="none", crop_padding=SIDE)


def test_crops_by_area_see_the_whole_frame(marked: Path):
    data = folder(marked, augment="standard")
    assert (data.frame, data.native_size, data.image_size) == (1.25, STORED, SIDE)
    stored, seen = training_images(data)
    assert stored.shape[-1] == STORED
    assert seen.shape[-1] == SIDE
    assert has_red(seen).any()
    _, seen = training_images(folder(marked, augment="standard", frame=1))
    assert seen.shape[-1] == SIDE


def test_maps_turn_the_centre_and_take_its_corners_from_the_frame(marked: Path):
    _, framed = training_images(folder(marked, frame=1.25, augment=Augment(rotate=20)))
    _, plain = training_images(folder(marked, augment=Augment(rotate=20)))
    black = [(seen.amax(1) < 10).float().mean() for seen in (framed, plain)]
    assert black[0] == 0 < black[1]
    data = folder(marked, augment=Augment(rotate=20, min_area=0.5))
    assert training_images(data)[1].shape[-1] == SIDE


@pytest.mark.parametrize(("resize", "frame"), [("crop", 1.25), ("squash", 1), ("pad", 1)])
def test_a_way_of_resizing_that_shows_the_whole_photo_frames_nothing(marked: Path, resize: str, frame: float):
    assert folder(marked, augment="standard", resize=resize).frame == frame


def test_without_crops_nothing_is_framed(marked: Path):
    for augment in ("none", "flip", Augment(rotate=10)):
        assert folder(marked, augment=augment).frame == 1
    assert folder(marked).preprocessing.resize_size is None


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (0.9, "frame must be between 1 and 2, got 0.9"),
        (2.5, "frame must be between 1 and 2, got 2.5"),
        (float("nan"), "frame must be between 1 and 2, got nan"),
        (1.01, "frame=1.01 adds no pixel to images of 28×28: set 1, or a larger one"),
    ],
)
def test_impossible_frames_are_refused(frame: float, message: str):
    with pytest.raises(ValueError, match=message):
        ImageFolder("nowhere", image_size=SIDE, frame=frame)


def test_frames_have_their_own_decoded_files(marked: Path, tmp_path: Path):
    for frame in (1, 1.25, 1.5, 1.25):
        data = folder(marked, frame=frame, cache_dir=str(tmp_path / "cache"))
        data.setup("fit")
        train = data.splits["train"]
        assert torch.equal(train.fetch(torch.tensor([0]))[0], read_image(Path(train.name(0)), round(SIDE * frame), 3))
    names = sorted(path.name.rpartition("-train-")[2].partition("x")[0] for path in (tmp_path / "cache").glob("*.uint8"))
    assert names == ["28", "35", "42"]


# A trained network


@pytest.fixture
def train(photos: Path, tmp_path: Path, trainer: Callable[..., Trainer]) -> Callable[..., Path]:
    """Trains on photographs and returns the checkpoint."""

    def run(name: str = "run", epochs: int = 1, checkpoint: Path | None = None, **arguments: Any) -> Path:
        torch.manual_seed(0)
        data = folder(photos, **{"augment": "standard"} | arguments)
        engine = trainer(max_epochs=epochs)
        engine.fit(LitLeNet(3, 3, schedule="constant"), datamodule=data, ckpt_path=checkpoint, weights_only=True)
        path = tmp_path / name / "checkpoints" / "last.ckpt"
        engine.save_checkpoint(path)
        data.write_manifest(tmp_path / name / "data.json")
        return path

    return run


@pytest.mark.parametrize(
    "resize", ["crop", pytest.param("squash", marks=pytest.mark.slow), pytest.param("pad", marks=pytest.mark.slow)]
)
def test_prediction_sees_what_evaluation_sees(train, photos: Path, trainer, resize: str):
    checkpoint = train(resize=resize, frame=1.25)
    run = load_run(checkpoint, device="cpu")
    assert run.reading == Reading(STORED, 3, resize)
    data = folder(photos, augment="standard", resize=resize, frame=1.25)
    trainer().test(run.classifier, datamodule=data, ckpt_path=checkpoint, weights_only=True, verbose=False)
    batch = next(iter(data.test_dataloader()))
    names = [data.splits["test"].name(int(position)) for position in batch.positions]
    pixels = torch.stack([run.reading.read(Path(name)) for name in names])
    assert torch.equal(pixels, batch.images)
    seen = data.on_after_batch_transfer(batch, 0).images
    assert torch.equal(run.preprocess(pixels), seen)
    with torch.inference_mode():
        expected = run.classifier.eval()(seen).softmax(1).numpy()
    values = np.stack([prediction.values for prediction in run.predict(names, batch_size=len(names))])
    assert np.array_equal(values, expected)


def test_a_resumed_run_ends_with_the_same_bits(train):
    whole = torch.load(train("whole", epochs=2), weights_only=True)
    first = train("first", epochs=1)
    again = torch.load(train("again", epochs=2, checkpoint=first), weights_only=True)
    assert all(torch.equal(whole["state_dict"][name], again["state_dict"][name]) for name in whole["state_dict"])


def test_a_checkpoint_without_a_frame_has_none(train):
    checkpoint = train(augment="flip")
    content = torch.load(checkpoint, weights_only=True)
    data = content[content[CHECKPOINT_KEY]["data_key"]]
    assert data.pop("frame") == 1
    torch.save(content, checkpoint)
    run = load_run(checkpoint)
    assert run.native_size == run.preprocessing.image_size == SIDE
    assert run.preprocessing.resize_size is None


def test_a_test_follows_the_frame_of_the_checkpoint(train, photos: Path, trainer):
    checkpoint = train()
    expected = trainer().test(
        LitLeNet(3, 3), folder(photos, augment="standard"), checkpoint, weights_only=True, verbose=False
    )
    data = folder(photos)
    assert trainer().test(LitLeNet(3, 3), data, checkpoint, weights_only=True, verbose=False) == expected
    assert data.native_size == STORED
    other = folder(photos, frame=1.5)
    with pytest.raises(ValueError, match=r"was trained with data.frame=1.25, which it needs: set data.frame=1.25"):
        trainer().test(LitLeNet(3, 3), other, checkpoint, weights_only=True, verbose=False)
    with pytest.raises(ValueError, match=r"frame"):
        trainer(max_epochs=2).fit(LitLeNet(3, 3), folder(photos, augment="standard", frame=1), ckpt_path=checkpoint)


def test_other_photographs_are_tested_in_the_frame_of_the_checkpoint(train, marked: Path, trainer):
    (marked / "cat").mkdir()
    for path in list((marked / "ant").iterdir()):
        with Image.open(path) as image:
            image.rotate(90).save(marked / "cat" / path.name)
    data = folder(marked)
    with pytest.warns(UserWarning, match="cross-dataset evaluation"):
        trainer().test(LitLeNet(3, 3), data, train(), weights_only=True, verbose=False)
    assert data.splits["test"].fetch(torch.tensor([0])).shape[-1] == data.native_size == STORED
    assert data.preprocessing.resize_size == STORED


def test_a_network_in_memory_is_tested_in_its_frame(train, photos: Path, tmp_path: Path, trainer):
    """So are images of a table, which Lightning does not give the state of a folder."""
    trained, table = load_run(train(), device="cpu"), tmp_path / "photos.csv"
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in sorted(photos.rglob("*.*"))]
    table.write_text("\n".join(["path,label", *rows]) + "\n")
    for data in (folder(photos), ImageTable(table=str(table), image_size=SIDE, cache_dir=None, flip=False)):
        with contextlib.nullcontext() if data.name == "photos" else pytest.warns(UserWarning, match="cross-dataset"):
            trainer().test(trained.classifier, datamodule=data, verbose=False)
        pixels = data.splits["test"].fetch(torch.tensor([0]))[0]
        assert torch.equal(pixels, trained.reading.read(Path(data.splits["test"].name(0))))
        assert pixels.shape[-1] == data.native_size == STORED
        assert data.preprocessing.resize_size == STORED


@pytest.mark.slow
def test_the_command_tests_other_photographs_in_the_frame_of_the_run(lit_cnn: Command, photos: Path, tmp_path: Path):
    options = ["--data.image_size", "28", "--trainer.accelerator", "cpu"]
    network = ["--model", "lenet", "--data", str(photos), *options]
    assert (
        lit_cnn("fit", *network, "--data.augment", "standard", "--trainer.max_epochs", "1", "--name", "framed").returncode
        == 0
    )
    run = tmp_path / "runs" / "photos" / "lenet" / "framed"
    best = run / "checkpoints" / "best.ckpt"
    kept = lit_cnn("test", "--run", run)
    found = lit_cnn("test", "--ckpt_path", best, *network)
    assert kept.returncode == found.returncode == 0, found.stderr
    first, second = Run(run).ledger.entries()
    assert first["test/loss"] == second["test/loss"]


def test_datasets_that_are_no_files_have_no_frame(lit_cnn: Command):
    done = lit_cnn("fit", "--model", "lenet", "--data", "digits", "--data.frame", "1.25")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "unknown option --data.frame" in done.stderr


@pytest.mark.slow
def test_exports_and_predictions_of_a_framed_run_agree(lit_cnn: Command, photos: Path, tmp_path: Path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    options = ["--data.image_size", "28", "--data.augment", "standard", "--trainer.max_epochs", "1", "--name", "framed"]
    done = lit_cnn("fit", "--model", "lenet", "--data", str(photos), *options, "--trainer.accelerator", "cpu")
    assert done.returncode == 0, done.stderr
    assert "within frames of 35×35" in done.stdout
    run = tmp_path / "runs" / "photos" / "lenet" / "framed"
    # The export proves that each form, and the script without torch, answers as the run.
    done = lit_cnn("export", "--run", run, "--format", "onnx", "torch")
    assert done.returncode == 0, done.stderr
    assert len(list(run.rglob("preprocess.json"))) == 1
    assert '"image_size": 35' in next(run.rglob("preprocess.json")).read_text(encoding="utf-8")
    done = lit_cnn("export", "--run", run, "--format", "onnx", "--resize")
    assert done.returncode == 0, done.stderr
    done = lit_cnn("resume", run, "--trainer.max_epochs", "1")
    assert done.returncode == 0, done.stderr
    assert lit_cnn("explain", "--run", run, "--images", photos / "ant").returncode == 0
    assert lit_cnn("report", run).returncode == 0
