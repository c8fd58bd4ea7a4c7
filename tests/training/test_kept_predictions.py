"""The predictions that a training and its evaluations leave in the run."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command, run_process
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback

from lit_cnn.data import Digits, FakeImages, ImageFolder
from lit_cnn.inference.loading import load_run
from lit_cnn.models import LitLeNet
from lit_cnn.runs.folder import Run
from lit_cnn.runs.predictions import RunPredictions
from lit_cnn.training.callbacks.checkpointing import Best, Last
from lit_cnn.training.callbacks.record import Recorder
from lit_cnn.training.class_scores import Predictions
from lit_cnn.training.kept_predictions import keep_predictions

FIT = ["fit", "--model", "LitLeNet", "--data", "Digits", "--data.image_size", "28", "--data.batch_size", "256"]
FIT += ["--trainer.max_epochs", "2", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]


def fit(command: Command, *options: str | Path) -> Run:
    done = command(*FIT, *options)
    assert done.returncode == 0, done.stderr
    return Run(next(line.split()[-1] for line in done.stdout.splitlines() if line.startswith("run folder")))


def files(run: Run) -> list[str]:
    return sorted(path.relative_to(run.path).as_posix() for path in run.path.rglob("*.npz"))


def test_a_run_keeps_the_logits_of_its_best_checkpoint_and_of_its_test(lit_cnn: Command):
    run = fit(lit_cnn, "--test_after_fit", "--trainer.precision", "32-true")
    results = run.read_results()
    for split, size in (("val", 144), ("test", 360)):
        kept = run.read_predictions(split)
        assert (kept.logits.shape, kept.logits.dtype, kept.checkpoint) == ((size, 10), np.float32, "checkpoints/best.ckpt")
        assert kept.digest == results[f"{split}/digest"]
        assert kept.correct.mean() == pytest.approx(results[f"{split}/acc"], abs=1e-6)
        assert kept.class_names == list("0123456789")
    trained, data = load_run(run.path, device="cpu"), Digits(image_size=28, seed=0)
    data.setup("test")
    with torch.inference_mode():
        logits = trained.classifier(trained.preprocessing(data.splits["test"].fetch(torch.arange(360))))
    np.testing.assert_allclose(kept.logits, logits.numpy(), atol=1e-4)
    assert list(kept.images) == [data.splits["test"].name(position) for position in range(360)]


def test_a_validation_of_some_images_is_not_kept(lit_cnn: Command):
    run = fit(lit_cnn, "--trainer.limit_val_batches", "1", "--data.batch_size", "64", "--trainer.max_epochs", "1")
    assert run.best.is_file()
    assert files(run) == []
    assert run.read_results()["val/images"] == 48  # one of three equal batches


# In a training


class Scripted(LitLeNet):
    """Reports validation accuracies of which the second and the fifth are the best."""

    def log_dict(self, scores: dict[str, torch.Tensor], **options: Any) -> None:
        # Logged twice, it would be the mean of both.
        scripted = {"val/acc": [0.2, 0.9, 0.1, 0.5, 0.9][self.current_epoch]} if "val/acc" in scores else {}
        super().log_dict(scores | scripted, **options)


class Validations(Callback):
    """Remembers the logits of each validation."""

    def __init__(self) -> None:
        self.logits: list[list[torch.Tensor]] = []

    def on_validation_start(self, *_: object) -> None:
        self.logits.append([])

    def on_validation_batch_end(self, trainer: Trainer, pl_module: object, outputs: torch.Tensor, *_: object) -> None:
        self.logits[-1].append(outputs)

    def __getitem__(self, number: int) -> np.ndarray:
        return torch.cat(self.logits[number]).numpy()


class KilledAfter(Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: object) -> None:
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


def train(make: Callable[..., Trainer], run: Run, max_epochs: int, *callbacks: Callback) -> None:
    run.path.mkdir(exist_ok=True)
    fitting = make(
        max_epochs=max_epochs, callbacks=[*callbacks, Recorder(run), Best(run), Last(run)], enable_checkpointing=True
    )
    model, data = Scripted(schedule="constant", lr=0.1), FakeImages(num_images=64, batch_size=16)
    path = run.last if run.last.is_file() else None
    with contextlib.suppress(SystemExit, KeyboardInterrupt):
        fitting.fit(model, datamodule=data, ckpt_path=path, weights_only=True)


def scores(entries: dict[str, Any]) -> dict[str, float]:
    sources = ("val/checkpoint", "val/data", "val/digest", "val/images")
    return {name: float(value) for name, value in entries.items() if name.startswith("val/") and name not in sources}


def test_predictions_and_scores_are_those_of_the_best_epoch_also_after_a_resume(
    trainer: Callable[..., Trainer], tmp_path: Path
):
    run, validations = Run(tmp_path / "run"), Validations()
    train(trainer, run, 4, validations, KilledAfter(3))
    assert len(validations.logits) == 3
    np.testing.assert_array_equal(run.read_predictions("val").logits, validations[1])
    train(trainer, run, 4, validations)
    np.testing.assert_array_equal(run.read_predictions("val").logits, validations[1])
    assert scores(run.read_results()) == scores(run.read_metrics()[1])
    train(trainer, run, 5, validations)
    np.testing.assert_array_equal(run.read_predictions("val").logits, validations[-1])
    assert (validations[-1] != validations[1]).any()
    assert scores(run.read_results()) == scores(run.read_metrics()[4]) != scores(run.read_metrics()[1])
    assert {"val/acc", "val/loss", "val/f1"} <= scores(run.read_results()).keys()


def test_a_resumed_training_removes_what_is_no_longer_of_its_network(trainer: Callable[..., Trainer], tmp_path: Path):
    run = Run(tmp_path / "run")
    train(trainer, run, 2)
    run.add_results({"test/acc": 0.5})
    shutil.copy(run.predictions["val"], run.predictions["test"])
    best = run.predictions["val"].read_bytes()
    train(trainer, run, 3)
    assert files(run) == ["predictions/val.npz"]
    assert run.predictions["val"].read_bytes() == best


def test_predictions_that_cannot_be_written_end_no_training(trainer: Callable[..., Trainer], tmp_path: Path):
    run = Run(tmp_path / "run")
    run.path.mkdir()
    (run.path / "predictions").write_text("in the way")
    with pytest.warns(UserWarning, match=f"^the predictions are not written to {run.predictions['val']}: "):
        train(trainer, run, 1)
    assert len(run.read_metrics()) == 1


@pytest.mark.parametrize("failure", [OSError("disk is full"), MemoryError("too little memory")])
def test_a_failure_leaves_no_predictions_of_another_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
):
    def fail(*_: object, **__: object) -> None:
        raise failure

    predictions, path = Predictions(), tmp_path / "predictions" / "val.npz"
    predictions.add(torch.eye(3), torch.arange(3))
    keep_predictions(path, predictions, None, "val", None)
    assert path.is_file()
    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.warns(UserWarning, match=rf"val\.npz: {failure}$"):
        keep_predictions(path, predictions, None, "val", None)
    assert list(tmp_path.iterdir()) == []


def test_images_are_named_by_their_data_or_numbered(tmp_path: Path):
    predictions, path, data = Predictions(), tmp_path / "val.npz", FakeImages(num_images=30)
    predictions.add(torch.eye(3), torch.arange(3), torch.tensor([2, 0, 1]))
    keep_predictions(path, predictions, None, "val", None)
    assert RunPredictions.read(path).images == ["2", "0", "1"]
    data.setup("validate")
    keep_predictions(path, predictions, data, "val", None)
    assert RunPredictions.read(path).images == [data.splits["val"].name(position) for position in (2, 0, 1)]


def test_files_are_named_from_the_folder_of_the_images(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    predictions = Predictions()
    predictions.add(torch.eye(3), torch.arange(3))
    for folder in ("photos", photos):
        data = ImageFolder(str(folder), image_size=28, cache_dir=None)
        data.setup("test")
        keep_predictions(tmp_path / "test.npz", predictions, data, "test", None)
        kept = RunPredictions.read(tmp_path / "test.npz")
        assert [kept.folder + image for image in kept.images] == [data.splits["test"].name(i) for i in range(3)]
        assert (kept.folder, kept.images[0].partition("/")[0]) == (f"{folder}/", "ant")


def test_names_of_images_may_have_any_bytes(tmp_path: Path):
    names = ["a\udcff.png", "ü/b.png"]
    RunPredictions(names, np.arange(2), np.eye(2, dtype=np.float32), ["a", "b"]).write(tmp_path / "val.npz")
    assert RunPredictions.read(tmp_path / "val.npz").images == names


@pytest.mark.slow
def test_several_processes_keep_each_image_once(lit_cnn: Command, tmp_path: Path):
    alone = fit(lit_cnn, "--trainer.precision", "64-true", "--name", "alone", "--trainer.max_epochs", "1")
    done = run_process(
        tmp_path, *FIT, "--trainer.precision", "64-true", "--name", "two", "--trainer.max_epochs", "1",
        "--trainer.devices", "2", "--test_after_fit",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    two = Run(alone.path.with_name("two"))
    assert two.read_predictions("val").images == alone.read_predictions("val").images
    np.testing.assert_allclose(two.read_predictions("val").logits, alone.read_predictions("val").logits, atol=1e-5)
    assert len(set(two.read_predictions("test").images)) == 360
