"""Trains one cell of a study: an arm at a learning rate with a seed."""

from __future__ import annotations

import contextlib
import inspect
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from lit_cnn import models
from lit_cnn.claims.images import StudyData, make_data
from lit_cnn.claims.network import LitBlockNet
from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.splits import Split
from lit_cnn.errors import TrainingError
from lit_cnn.network.names import nearest
from lit_cnn.training.classifier import LitClassifier

# Settings of the Trainer that are the same in all studies.
FIXED = {
    "accelerator": "cpu",
    "devices": 1,
    "precision": "32-true",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "limit_val_batches": 0,
}
# A training loss at which a training stops is a mean over so many images.
NUM_AVERAGED = 2560


@dataclass(eq=False)
class History(pl.Callback):
    """Training loss and training error of each step.

    Args:
        stop_at_loss: Ends the training when the mean loss of the last :data:`NUM_AVERAGED` images is below it.
    """

    stop_at_loss: float | None = None

    def __post_init__(self) -> None:
        self.losses: list[float] = []
        self.errors: list[float] = []
        self.images = 0
        self.seconds = 0.0
        self.reached = False  # the loss at which it stops
        self.planned = 0  # steps of a training that does not stop before its end
        self._hits = self._total = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter()
        self.planned = int(trainer.estimated_stepping_batches)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._hits = self._total = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        accuracy = pl_module.train_acc
        hits, total = int(accuracy.tp.sum()), int(accuracy.tp.sum() + accuracy.fn.sum())
        self.errors.append(1 - (hits - self._hits) / (total - self._total))
        self._hits, self._total = hits, total
        self.losses.append(float(outputs["loss"]))
        self.images += len(batch[1])
        window = max(1, NUM_AVERAGED // len(batch[1]))
        if self.stop_at_loss is not None and len(self.losses) >= window:
            self.reached = sum(self.losses[-window:]) / window < self.stop_at_loss
            trainer.should_stop = self.reached

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds = time.perf_counter() - self._started


@dataclass(eq=False)
class Trained:
    """A cell after its training; what is measured.

    Args:
        model: The trained network.
        data: The images.
        history: Loss and error of each step.
        settings: Of the cell.
        seed: Of everything.
        diverged: Whether the loss became infinite; then the training ended there.
    """

    model: LitClassifier
    data: StudyData
    history: History
    settings: Mapping[str, Any]
    seed: int
    diverged: bool
    images: dict[Split, tuple[Tensor, Tensor]] = field(default_factory=dict)  # normalised, when they are first needed

    @property
    def reached(self) -> bool:
        """Whether the training ended where it should: at its loss, if the study sets one."""
        return self.settings["stop_at_loss"] is None or self.history.reached

    def at_start(self) -> LitClassifier:
        """The network as it was before the first step."""
        return make_model(self.settings, self.data, self.seed)


def train(settings: Mapping[str, Any], seed: int, data_dir: Path) -> Trained:
    """Trains a network with the Lightning Trainer, in float32 on the processor.

    Args:
        settings: Of the cell, see :meth:`lit_cnn.claims.design.Study.settings`.
        seed: Of initialisation, order and augmentation.
        data_dir: Where the files of the datasets are.

    Raises:
        ValueError: If the settings or the images cannot be used.
    """
    data = make_data(settings, data_dir, seed)
    model, history = make_model(settings, data, seed), History(settings["stop_at_loss"])
    diverged = False
    with _quiet():
        trainer = pl.Trainer(**trainer_settings(settings), **FIXED, callbacks=[history])
        try:
            trainer.fit(model, datamodule=data)
        except TrainingError:
            diverged = True
    model.eval()
    return Trained(model, data, history, settings, seed, diverged)


def trainer_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a cell sets of its Trainer.

    Raises:
        ValueError: If a setting is unknown, or the same in all studies.
    """
    given = {"max_epochs": 1, **settings["trainer"]}
    usable = inspect.signature(pl.Trainer).parameters.keys() - FIXED.keys() - {"callbacks"}
    if unknown := sorted(given.keys() - usable):
        raise ValueError(f"trainer.{unknown[0]} cannot be set in a study; {nearest(unknown[0], sorted(usable))}")
    return given


def make_model(settings: Mapping[str, Any], data: ImageDataModule, seed: int) -> LitClassifier:
    """The network of a cell before its training; a seed gives the same weights each time.

    Raises:
        ValueError: If the class or an argument is unknown.
    """
    name = str(settings["model"].get("class_path", LitBlockNet.__name__)).rpartition(".")[2]
    cls = LitBlockNet if name == LitBlockNet.__name__ else getattr(models, name, None)
    if not (isinstance(cls, type) and issubclass(cls, LitClassifier)):
        names = [LitBlockNet.__name__, *models.ARCHITECTURES]
        raise ValueError(f"model.class_path: there is no {name}; {nearest(name, names)}")
    given = dict(settings["model"].get("init_args") or {})
    usable = {argument for base in cls.__mro__ for argument in inspect.signature(base).parameters} - {"args", "kwargs"}
    if unknown := sorted(given.keys() - usable):
        raise ValueError(f"model.{unknown[0]} is no argument of {name}; {nearest(unknown[0], sorted(usable))}")
    with _quiet():
        pl.seed_everything(seed, verbose=False)
        shape = {"num_classes": data.num_classes, "in_channels": data.channels}
        if cls is LitBlockNet:
            shape["image_size"] = data.image_size
        return cls(**{**shape, **given})


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Computes with one thread, so that numbers and speeds do not depend on what else the machine does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what Lightning reports of every Trainer: a study makes hundreds of them."""
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
