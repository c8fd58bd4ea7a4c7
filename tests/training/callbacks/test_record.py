import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import BatchSizeFinder, Callback, EMAWeightAveraging, LearningRateFinder, ModelCheckpoint

from lit_cnn.data import FakeImages
from lit_cnn.models import LitLeNet
from lit_cnn.runs.checkpoint_file import num_bytes
from lit_cnn.runs.folder import Run
from lit_cnn.training.callbacks.checkpointing import Best, Last
from lit_cnn.training.callbacks.looks import with_interval
from lit_cnn.training.callbacks.record import Recorder


def test_the_interval_is_wilsons():
    # Newcombe 1998, Table I, method 3: 81 of 263.
    scores = with_interval({"test/acc": 81 / 263, "test/images": 263.0})
    assert scores["test/acc_low"] == pytest.approx(0.2553, abs=5e-5)
    assert scores["test/acc_high"] == pytest.approx(0.3662, abs=5e-5)
    perfect = with_interval({"test/acc": 1.0, "test/images": 100.0})
    assert perfect["test/acc_high"] == 1
    assert perfect["test/acc_low"] == pytest.approx(0.9630, abs=5e-5)


def test_speed_leaves_validation_out(trainer: Callable[..., Trainer]):
    class Slow(FakeImages):
        def val_dataloader(self):
            for batch in super().val_dataloader():
                time.sleep(0.3)
                yield batch

    recorder = Recorder(None)
    trainer(callbacks=[recorder]).fit(LitLeNet(), datamodule=Slow(num_images=100, batch_size=25))
    assert recorder.images == 75
    assert recorder.wall_seconds > 0.3
    assert recorder.seconds < recorder.wall_seconds - 0.25


@pytest.mark.parametrize("finder", [LearningRateFinder, pytest.param(BatchSizeFinder, marks=pytest.mark.slow)])
@pytest.mark.parametrize("recorder_first", [False, True])
def test_the_search_of_a_finder_is_no_training(trainer: Callable[..., Trainer], finder: type, recorder_first: bool):
    search = finder()
    recorder = Recorder(None)
    callbacks = [recorder, search] if recorder_first else [search, recorder]
    started = time.perf_counter()
    trainer(callbacks=callbacks, max_epochs=2).fit(LitLeNet(), datamodule=FakeImages(num_images=100, batch_size=25))
    assert 0 < recorder.seconds <= recorder.wall_seconds < time.perf_counter() - started
    assert recorder.images == 2 * 75
    assert recorder.state_dict()["wall_seconds"] == recorder.wall_seconds


def test_nothing_left_to_train_takes_no_time(trainer: Callable[..., Trainer], tmp_path: Path):
    for _ in range(2):
        run, recorder = Run(tmp_path), Recorder(None)
        resumed = run.last if run.last.exists() else None
        fitted = trainer(enable_checkpointing=True, callbacks=[recorder, Last(run)])
        fitted.fit(LitLeNet(), datamodule=FakeImages(num_images=64), ckpt_path=resumed, weights_only=True)
        if resumed is None:
            seconds = torch.load(run.last, weights_only=True)["callbacks"]["Recorder"]["wall_seconds"]
    assert not recorder.trained
    assert recorder.wall_seconds == seconds


class StopAt(Callback):
    """Saves and ends the training after a number of batches in an epoch."""

    def __init__(self, last: Last, batch: int) -> None:
        self.last, self.batch = last, batch

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx + 1 == self.batch:
            self.last.save(trainer)
            raise KeyboardInterrupt


def test_a_validation_before_a_stop_counts_for_the_epoch(trainer: Callable[..., Trainer], tmp_path: Path):
    rows = []
    for name, stop in (("whole", 0), ("stopped", 7)):
        run = Run(tmp_path / name)
        run.path.mkdir()
        for batch in [stop, 0] if stop else [0]:
            last = Last(run)
            callbacks = [Recorder(run), last, *([StopAt(last, batch)] if batch else [])]
            fitting = trainer(callbacks=callbacks, enable_checkpointing=True, val_check_interval=3)
            torch.manual_seed(0)
            classifier, data = LitLeNet(), FakeImages(num_images=88, batch_size=8)
            path = run.last if run.last.is_file() else None
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                fitting.fit(classifier, datamodule=data, ckpt_path=path, weights_only=True)
        rows.append([{key: row[key] for key in row if key.startswith("val/")} for row in run.read_metrics()])
    assert rows[0] == rows[1]
    assert len(rows[0]) == 1
    assert rows[0][0]["val/acc"]


def test_images_before_and_after_a_stop_by_steps_count_once(trainer: Callable[..., Trainer], tmp_path: Path):
    run = Run(tmp_path)
    for steps in (5, 12):  # an epoch has 8
        recorder, path = Recorder(None), run.last if run.last.is_file() else None
        fitting = trainer(callbacks=[recorder, Last(run)], enable_checkpointing=True, max_epochs=2, max_steps=steps)
        data = FakeImages(num_images=88, batch_size=8)
        fitting.fit(LitLeNet(schedule="constant"), datamodule=data, ckpt_path=path, weights_only=True)
        assert recorder.images == 8 * steps
        assert recorder.seconds <= recorder.wall_seconds


def test_a_new_run_may_start_after_the_last_batch_of_another(trainer: Callable[..., Trainer], tmp_path: Path):
    def fit(run: Run, checkpoint: Path | None, *others: Callback) -> None:
        fitting = trainer(callbacks=[Recorder(run), *others], enable_checkpointing=True, max_epochs=2)
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            data = FakeImages(num_images=88, batch_size=8)
            fitting.fit(LitLeNet(schedule="constant"), datamodule=data, ckpt_path=checkpoint, weights_only=True)

    first, second = Run(tmp_path / "first"), Run(tmp_path / "second")
    for run in (first, second):
        run.path.mkdir()
    last = Last(first)
    fit(first, None, last, StopAt(last, 8))
    fit(second, first.last, Last(second))
    speeds = [row["train/images_per_s"] for row in second.read_metrics()]
    assert not speeds[0]  # it trained no image of this epoch
    assert float(speeds[1]) > 0


class Scripted(LitLeNet):
    """Reports given validation accuracies, one an epoch."""

    def __init__(self, accuracies: list[float]) -> None:
        super().__init__(schedule="constant")
        self.accuracies = accuracies

    def on_validation_epoch_end(self) -> None:
        self.log("val/acc", self.accuracies[self.current_epoch])


def test_the_best_checkpoint_is_the_last_of_the_equals(trainer: Callable[..., Trainer], tmp_path: Path):
    run = Run(tmp_path)
    fitted = trainer(max_epochs=4, enable_checkpointing=True, callbacks=[Best(run), Last(run)])
    fitted.fit(Scripted([0.2, 0.9, 0.9, 0.5]), datamodule=FakeImages(num_images=64))
    epochs = [torch.load(path, weights_only=True)["epoch"] for path in (run.best, run.last)]
    assert epochs == [2, 3]
    assert {path.name for path in run.checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert fitted.checkpoint_callback.best_model_path == str(run.best)


def test_an_epoch_without_validation_cannot_be_the_best(trainer: Callable[..., Trainer], tmp_path: Path):
    run = Run(tmp_path)
    settings = {"max_epochs": 3, "check_val_every_n_epoch": 2, "enable_checkpointing": True}
    fitted = trainer(**settings, callbacks=[Best(run), Last(run)])
    fitted.fit(Scripted([0.0, 0.9, 0.0]), datamodule=FakeImages(num_images=64))
    assert [torch.load(path, weights_only=True)["epoch"] for path in (run.best, run.last)] == [1, 2]


@pytest.mark.parametrize("relative", [False, True])
def test_a_run_that_was_moved_keeps_its_best(
    trainer: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
):
    monkeypatch.chdir(tmp_path)

    def fit(run: Run, max_epochs: int, resume_from: Path | None) -> None:
        classifier, data = Scripted([0.9, 0.1, 0.95]), FakeImages(num_images=64)
        fitted = trainer(max_epochs=max_epochs, enable_checkpointing=True, callbacks=[Best(run), Last(run)])
        fitted.fit(classifier, datamodule=data, ckpt_path=resume_from, weights_only=True)
        assert fitted.checkpoint_callback.best_model_path == str(run.best.absolute())

    folder = Path() if relative else tmp_path
    fit(Run(folder / "old"), 1, None)
    (tmp_path / "old").rename(tmp_path / "new")
    moved = Run(folder / "new")
    fit(moved, 2, moved.last)
    assert [torch.load(path, weights_only=True)["epoch"] for path in (moved.best, moved.last)] == [0, 1]
    fit(moved, 3, moved.last)
    assert [torch.load(path, weights_only=True)["epoch"] for path in (moved.best, moved.last)] == [2, 2]
    assert not (tmp_path / "old").exists()


@pytest.mark.parametrize("averaging", [False, True])
def test_the_best_checkpoint_holds_the_weights_that_were_validated_and_no_more(
    trainer: Callable[..., Trainer], tmp_path: Path, averaging: bool
):
    validated: list[dict[str, torch.Tensor]] = []

    class Watch(Callback):
        def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
            if batch_idx == 0:
                validated.append({name: tensor.clone() for name, tensor in pl_module.state_dict().items()})

    run, data = Run(tmp_path), FakeImages(num_images=64)
    callbacks = [*([EMAWeightAveraging(decay=0.5)] if averaging else []), Watch(), Best(run), Last(run)]
    fitted = trainer(max_epochs=2, enable_checkpointing=True, callbacks=callbacks)
    fitted.fit(Scripted([0.9, 0.1]), datamodule=data)
    best, last = (torch.load(path, weights_only=True) for path in (run.best, run.last))
    assert best.keys() == {
        *("epoch", "global_step", "pytorch-lightning_version", "state_dict", "lit_cnn", "FakeImages"),
        *("hparams_name", "hyper_parameters", "datamodule_hparams_name", "datamodule_hyper_parameters"),
    }
    torch.testing.assert_close(best["state_dict"], validated[0], rtol=0, atol=0)
    weights, momentum = num_bytes(best["state_dict"]), num_bytes(last["optimizer_states"])
    assert num_bytes(best) == weights
    assert num_bytes(last) >= (3 if averaging else 2) * momentum
    tested = Scripted([0.9, 0.1])
    trainer().test(tested, datamodule=data, ckpt_path=run.best, verbose=False, weights_only=True)
    torch.testing.assert_close(tested.state_dict(), validated[0], rtol=0, atol=0)


def test_another_checkpoint_callback_does_not_pass_for_the_best(trainer: Callable[..., Trainer], tmp_path: Path):
    by_loss = ModelCheckpoint(tmp_path / "by_loss", monitor="val/loss")
    recorder, run = Recorder(None), Run(tmp_path)
    fitted = trainer(enable_checkpointing=True, callbacks=[by_loss, recorder, Best(run)])
    fitted.fit(LitLeNet(), datamodule=FakeImages(num_images=64))
    assert recorder.training_results(fitted)["val/acc"] == float(fitted.callback_metrics["val/acc"])
