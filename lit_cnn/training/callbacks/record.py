"""Writes the files of a run during training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from lit_cnn.runs.folder import DIVERGED, OTHER_DATA, Run
from lit_cnn.runs.format import RUN_KEY
from lit_cnn.runs.identity import Change
from lit_cnn.training.callbacks.checkpointing import Best, is_saved_by
from lit_cnn.training.callbacks.compile import Compile
from lit_cnn.training.class_scores import ClassScores
from lit_cnn.training.evaluation_files import remove_evaluation
from lit_cnn.training.kept_predictions import remove_predictions
from lit_cnn.training.optimizer import rate_of
from lit_cnn.training.origin import data_of, name_of, variant_of

# Results of a test.
TEST_RESULTS = ("test/", OTHER_DATA)
# Metrics of single steps, not of an epoch.
STEP_METRICS = ("train/loss_step", "train/lr", "train/gradient_norm")


class Recorder(Callback):
    """Measures training speed, and writes ``metrics.csv``, ``environment.json``, ``results.json``.

    Logs ``train/images_per_s``: images trained per second of an epoch, without its validation.

    Args:
        run: The run to write; None to measure only.
        describe: Called when training starts, to write further files of the run.
        changes: Settings that a resumed run does not share with the training before; written to ``environment.json``.
    """

    def __init__(self, run: Run | None, describe: Callable[[], None] | None = None, changes: Sequence[Change] = ()) -> None:
        self.run = run
        self.describe = describe
        self.changes = changes
        self.trained = False  # whether this process has trained; batches before a resume do not count
        self.images = 0
        self.seconds = 0.0  # spent in training batches
        self.wall_seconds = 0.0  # of the whole training, also before a resume
        self._epoch_images = 0  # of all processes
        self._epoch_started = 0.0
        self._batch_ended = 0.0
        self._started: float | None = None  # when training began; earlier by the time that it took before a resume
        self._validated = False
        self._validation: dict[str, float] = {}  # values of the last one in this epoch
        self._resumed = True  # whether the loaded checkpoint is one of this run
        # From checkpoints of earlier versions: highest validation accuracy, images of each class then.
        self._best: tuple[float, Any] = (-1.0, None)
        self._lr = float("nan")
        self._unfinished = (0, 0.0, self._lr)  # images, seconds and learning rate of an epoch that was stopped

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Not earlier: if the checkpoint is refused, the files must not describe the new settings.
        if self.run and trainer.is_global_zero:
            device = trainer.strategy.root_device
            name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
            dataset = getattr(trainer.datamodule, "name", None)
            precision, variant = str(trainer.precision), variant_of(pl_module)
            self.run.write_environment(name, precision, trainer.world_size, dataset, variant)
            self.run.add_changes(trainer.global_step, self.changes)
            if self.describe:
                self.describe()
        # Not earlier: the search of a finder is no training.
        self._started = time.perf_counter() - self.wall_seconds
        # A resumed epoch starts from its earlier values; a new one is reset in on_train_epoch_start.
        self._epoch_images, before, self._lr = self._unfinished
        self._batch_ended = time.perf_counter()
        self._epoch_started = self._batch_ended - before

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epoch_images = 0
        self._validated, self._validation = False, {}
        self._epoch_started = self._batch_ended = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self.trained and self.run and trainer.is_global_zero:
            # Earlier test scores belong to a network that was trained less; the ledger keeps them. If the training diverges
            # again, that is entered again.
            if self.run.results.is_file():
                of_last = () if self.run.best.is_file() else ("val/",)
                self.run.add_results({}, without=(*TEST_RESULTS, DIVERGED, *of_last))
            _remove_evaluations(self.run)
        self.trained = True
        self._epoch_images += len(batch[1]) * trainer.world_size
        self._batch_ended = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._await_device(trainer)

    def _await_device(self, trainer: pl.Trainer) -> None:
        """Waits until the accelerator has finished, so that all training time is counted."""
        if trainer.strategy.root_device.type != "cpu":
            torch.accelerator.synchronize()
            self._batch_ended = time.perf_counter()

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self._lr = rate_of(pl_module, optimizer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = True
        values = trainer.callback_metrics.items()
        self._validation = {name: float(value) for name, value in values if name.startswith("val/")}
        # The validation does not count: as if no time had passed since the last training batch.
        pause = time.perf_counter() - self._batch_ended
        self._epoch_started += pause
        self._batch_ended += pause

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._validated:
            self._await_device(trainer)
        epoch_seconds = self._batch_ended - self._epoch_started
        self.images += self._epoch_images
        self.seconds += epoch_seconds
        if self._epoch_images:  # a new run may start from another one's checkpoint after the last batch of an epoch
            pl_module.log("train/images_per_s", self._epoch_images / epoch_seconds, sync_dist=True)
        # Counted. max_steps may end the training amid an epoch, of which a resumed run trains and adds the rest.
        self._epoch_images, self._epoch_started = 0, self._batch_ended
        if not (self.run and trainer.is_global_zero):
            return
        row: dict[str, Any] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        row["seconds"], row["images"] = round(self._count_wall_seconds(), 3), self.images
        row["lr"] = self._lr  # of the last step
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train/") and name not in STEP_METRICS:
                row[name] = float(value)
        row |= self._validation
        # A resumed run replaces the rows of the epochs that it repeats.
        earlier = [old for old in self.run.read_metrics() if int(old["epoch"]) < trainer.current_epoch]
        self.run.write_metrics([*earlier, row])

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.wall_seconds, self._started = self._count_wall_seconds(), None
        if self.run and trainer.is_global_zero:
            results: dict[str, Any] = dict(self.training_results(trainer))
            best = _best_of(trainer)
            if best and "val/acc" in results:
                results = best.scores | results
                data = data_of(trainer)
                results["val/checkpoint"] = self.run.best.relative_to(self.run.path).as_posix()
                results |= {"val/data": name_of(data), "val/digest": getattr(data, "digest", None)}
                if best.class_counts is not None:
                    results["val/images"] = sum(best.class_counts[-1])
            without = ("val/",) if "val/acc" in results or not self.run.best.is_file() else ()
            validated = self.run.read_results().get("val/images", 0)
            if not self.trained and validated > results.get("val/images", 0):  # later, of images that the training left out
                results, without = {name: value for name, value in results.items() if not name.startswith("val/")}, ()
            if self.trained:  # what was evaluated meanwhile, by another process, was trained less
                _remove_evaluations(self.run)
                without += TEST_RESULTS
            self.run.add_results(results, without)

    def _count_wall_seconds(self) -> float:
        return self.wall_seconds if self._started is None else time.perf_counter() - self._started

    def training_results(self, trainer: pl.Trainer) -> dict[str, float]:
        """Validation accuracy of the best checkpoint, training speed, duration."""
        results = {"seconds": round(self.wall_seconds, 2)}
        if self.seconds:
            results["train/images_per_s"] = round(self.images / self.seconds, 1)
        for callback in trainer.callbacks:
            if isinstance(callback, Compile) and callback.seconds is not None:
                results["first_step_s"] = round(callback.seconds, 2)  # images_per_s includes it
        best, is_kept = _best_of(trainer), self.run is None or self.run.best.is_file()
        if best and "val/acc" in best.scores and is_kept:
            results["val/acc"] = best.scores["val/acc"]
        return results

    def class_scores(self, trainer: pl.Trainer) -> dict[str, ClassScores]:
        """Scores of the classes in the validation of the best checkpoint, by split; empty if it is not known."""
        accuracy = self.training_results(trainer).get("val/acc")
        best = _best_of(trainer)
        if best is None or accuracy is None:
            return {}
        counts = best.class_counts
        if counts is None and math.isclose(accuracy, self._best[0], rel_tol=1e-6):
            counts = self._best[1]
        return {} if counts is None else {"val": ClassScores.of(counts, trainer.datamodule)}

    def state_dict(self) -> dict[str, Any]:
        wall_seconds = self._count_wall_seconds()
        unfinished = (self._epoch_images, self._batch_ended - self._epoch_started, self._lr)
        own = {"images": self.images, "seconds": self.seconds, "wall_seconds": wall_seconds, "unfinished": unfinished}
        return own | {"validation": self._validation, "best": self._best}

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.run and trainer.is_global_zero and self.run.id:
            checkpoint[RUN_KEY] = self.run.id

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        # A new run that starts from the checkpoint of another counts what it does itself.
        self._resumed = trainer.strategy.broadcast(self.run is None or is_saved_by(self.run, checkpoint))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if not self._resumed:
            return
        self.images, self.seconds = state_dict["images"], state_dict["seconds"]
        self.wall_seconds = state_dict["wall_seconds"]
        self._unfinished = state_dict["unfinished"]
        self._validation = state_dict.get("validation", {})
        self._best = state_dict.get("best", self._best)


def _remove_evaluations(run: Run) -> None:
    """Removes the files of evaluations, and predictions that are not of the best checkpoint."""
    for folder in run.evaluations.values():
        for evaluation in (folder, *folder.glob("*/")):
            remove_evaluation(evaluation)
    remove_predictions(run.predictions["test"])
    if not run.best.is_file():
        remove_predictions(run.predictions["val"])


def _best_of(trainer: pl.Trainer) -> Best | None:
    return next((callback for callback in trainer.callbacks if isinstance(callback, Best)), None)
