"""Images per second of any loop."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback


class Stopwatch:
    """Counts images after a warm-up until enough time has passed, in one pass or in several.

    Args:
        seconds: How long to measure.
        warm_up: First steps of each pass, which are not counted: caches fill, kernels are chosen.
        skip_epoch: Measures the first epoch separately, preparation included, and counts from the second one.
        in_passes: Only :meth:`stop` ends a pass, so that the work at its end is measured too.
    """

    def __init__(self, seconds: float, warm_up: int = 3, skip_epoch: bool = False, in_passes: bool = False) -> None:
        self.seconds = seconds
        self.warm_up = warm_up
        self.first_step_s: float | None = None  # from start to end of the first step
        self.first_epoch_images_per_s: float | None = None  # preparation included
        self.in_passes = in_passes
        self._in_first_epoch = skip_epoch
        self._began = time.perf_counter()
        self._seen = 0  # all images
        self._steps = 0  # of this pass, warm-up included
        self._started = 0.0
        self._images = 0  # counted ones
        self._measured = 0.0  # seconds of the earlier passes

    @property
    def images_per_s(self) -> float:
        return self._images / self._measured

    @property
    def done(self) -> bool:
        """Whether enough has been measured."""
        return self._measured >= self.seconds

    def restart(self) -> None:
        """Counts the time to the first step from now."""
        self._began = time.perf_counter()

    def step(self, num_images: int) -> bool:
        """Counts a finished step. Returns whether enough has been measured."""
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
        """Notes the end of an epoch."""
        if self._in_first_epoch:
            await_device()
            self.first_epoch_images_per_s = self._seen / (time.perf_counter() - self._began)
            self._in_first_epoch = False

    def stop(self) -> None:
        """Ends a pass when the device has finished.

        Raises:
            ValueError: If it had no steps after the warm-up.
        """
        if self.done:
            return
        if self._steps <= self.warm_up:
            raise ValueError(f"{self._steps} batches are too few to be measured: it takes at least {self.warm_up + 1}")
        await_device()
        self._measured += time.perf_counter() - self._started
        self._steps = 0


def await_device() -> None:
    """Waits until the accelerator, if there is one, has finished."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


class Timing(Callback):
    """Passes a Trainer's steps to a stopwatch, and ends the training when enough has been measured."""

    # A class attribute, since the command line creates the callback without arguments.
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
