"""Images per second of a loop, whatever loop it is."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback


class Stopwatch:
    """Counts images from the first steady step until enough time has passed, in one go or in several.

    Args:
        seconds: How long to measure.
        warm_up: Steps that are left out of each go: caches fill, kernels are chosen.
        skip_epoch: Whether the first epoch is measured apart, with all that prepares it, and the steady steps come later.
        in_passes: Whether a go ends by :meth:`stop` alone, for what is done at its end belongs to it.
    """

    def __init__(self, seconds: float, warm_up: int = 3, skip_epoch: bool = False, in_passes: bool = False) -> None:
        self.seconds = seconds
        self.warm_up = warm_up
        self.first_step_s: float | None = None  # from the beginning to the end of the first step
        self.first_epoch_images_per_s: float | None = None  # preparations included
        self.in_passes = in_passes
        self._in_first_epoch = skip_epoch
        self._began = time.perf_counter()
        self._seen = 0  # images in all
        self._steps = 0  # of this go, those that warm up among them
        self._started = 0.0
        self._images = 0  # that are counted
        self._measured = 0.0  # seconds, of the earlier goes

    @property
    def images_per_s(self) -> float:
        return self._images / self._measured

    @property
    def done(self) -> bool:
        """Whether enough has been measured."""
        return self._measured >= self.seconds

    def restart(self) -> None:
        """Has the time to the first step begin now; what came before was no part of it."""
        self._began = time.perf_counter()

    def step(self, num_images: int) -> bool:
        """Enters a step that is done; returns whether enough has been measured."""
        if self.first_step_s is None:
            await_device()
            self.first_step_s = time.perf_counter() - self._began
        self._seen += num_images
        if self._in_first_epoch or self.done:
            return self.done
        self._steps += 1
        if self._steps == self.warm_up:
            await_device()
            self._started = time.perf_counter()
        elif self._steps > self.warm_up:
            self._images += num_images
            if not self.in_passes and self._measured + time.perf_counter() - self._started >= self.seconds:
                self.stop()
        return self.done

    def end_epoch(self) -> None:
        """Enters the end of an epoch."""
        if self._in_first_epoch:
            await_device()
            self.first_epoch_images_per_s = self._seen / (time.perf_counter() - self._began)
            self._in_first_epoch = False

    def stop(self) -> None:
        """Ends a go, once the device has done what it was told.

        Raises:
            ValueError: If it had no steps besides those that warm up.
        """
        if self.done:
            return
        if self._steps <= self.warm_up:
            raise ValueError(f"{self._steps} batches are too few to be measured: it takes at least {self.warm_up + 1}")
        await_device()
        self._measured += time.perf_counter() - self._started
        self._steps = 0


def await_device() -> None:
    """Waits until the accelerator, if there is one, has done what it was told."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


class Timing(Callback):
    """Hands a Trainer's steps to a stopwatch, and ends the training when it has seen enough."""

    # Set before the Trainer is made: the command line makes this object by its name alone.
    stopwatch: ClassVar[Stopwatch]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.stopwatch.step(len(batch[1])):
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stopwatch.end_epoch()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.training:
            self.stopwatch.step(len(batch[1]))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.training:
            self.stopwatch.stop()
