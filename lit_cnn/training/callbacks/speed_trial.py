"""Measures how long the epochs of a training take, in a part of it."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

# Batches before the clock starts: the first ones allocate memory and choose kernels.
WARM_UP = 2
# Batches that are timed at least.
LEAST_BATCHES = 3


class SpeedTrial(Callback):
    """Times training batches and validations, then ends the training with a validation.

    What a short epoch takes besides its batches is part of their time.

    Args:
        seconds: How long batches are timed; longer if these are fewer than :data:`LEAST_BATCHES`.
    """

    def __init__(self, seconds: float) -> None:
        self.wanted_seconds = seconds
        self.num_epoch_batches = 0
        self.batches = 0  # that were timed
        self.seconds = 0.0
        self.has_whole_epoch = False  # whether an epoch ended while batches were timed
        self.saving_seconds = 0.0  # of the checkpoints of an epoch, if none was saved while batches were timed
        self._began: float | None = None
        self._seen = 0
        self._validations: list[float] = []
        self._validation_began = 0.0
        self._validating = 0.0  # seconds of validations since the clock started

    @property
    def validation_seconds(self) -> float:
        """Of one validation; the first is left out if there are others. 0 if nothing is validated."""
        usual = self._validations[1:] or self._validations
        return sum(usual) / len(usual) if usual else 0.0

    def epoch_seconds(self, validations: float) -> float:
        """Time of one epoch.

        Args:
            validations: Number of validations in an epoch, see :func:`validations_per_epoch`.
        """
        return self.training_seconds + validations * self.validation_seconds + self.saving_seconds

    @property
    def training_seconds(self) -> float:
        """Of an epoch, without validation."""
        return self.num_epoch_batches * self.seconds / self.batches

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._seen += 1
        if self._began is None:
            if self._seen >= WARM_UP:
                self._began, self._validating = self._now(trainer), 0.0
            return
        self.batches += 1
        if self.batches >= LEAST_BATCHES and time.perf_counter() - self._began >= self.wanted_seconds:
            self.seconds = self._now(trainer) - self._began - self._validating
            self.num_epoch_batches = int(trainer.num_training_batches)
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.has_whole_epoch |= self._began is not None and not trainer.should_stop

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validation_began = self._now(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validations.append(self._now(trainer) - self._validation_began)
        self._validating += self._validations[-1]

    def _now(self, trainer: pl.Trainer) -> float:
        """The time when the device has finished."""
        if trainer.strategy.root_device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter()


def validations_per_epoch(
    interval: float | timedelta | None, every_n_epochs: int | None, num_batches: int, training_seconds: float
) -> float:
    """Number of validations in an epoch, in the mean.

    Args:
        interval: ``val_check_interval`` of the Trainer: a share of an epoch, a whole number of batches, or a time.
        every_n_epochs: ``check_val_every_n_epoch`` of the Trainer.
        num_batches: Batches of an epoch.
        training_seconds: Time of an epoch without validation.
    """
    if isinstance(interval, timedelta):
        return training_seconds / interval.total_seconds()
    if isinstance(interval, int) and not isinstance(interval, bool):
        if every_n_epochs is None:
            return num_batches / interval
        return max(1, num_batches // interval) / every_n_epochs
    share = 1.0 if interval is None else interval
    return max(1, num_batches // max(1, int(num_batches * share))) / (every_n_epochs or 1)
