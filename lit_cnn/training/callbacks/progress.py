"""What a training prints while it runs: a bar on a terminal, and one line for each epoch."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar, RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import BatchesProcessedColumn, CustomBarColumn
from rich.progress import ProgressColumn, Task, TextColumn
from rich.text import Text
from torch import Tensor


class PrintsEpochs(ProgressBar):
    """Prints one line after each epoch."""

    _validated = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self.print(epoch_line(trainer, self._validated))


class EpochLines(PrintsEpochs):
    """One line for each epoch and nothing else, for files and pipes."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = True

    def disable(self) -> None:
        """Prints nothing: Lightning calls this in all processes but the first."""
        self._shown = False

    def enable(self) -> None:
        self._shown = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        if self._shown:
            print(*args, **kwargs, flush=True)


class Bar(PrintsEpochs, RichProgressBar):
    """A bar for the batches of the epoch, with loss, speed and the time left for the whole training; epoch lines above it.

    A thread draws it ``refresh_per_second`` times a second, so that it does not slow down small networks.
    """

    def __init__(self, refresh_per_second: int = 4) -> None:
        super().__init__(refresh_rate=refresh_per_second)
        self.pace = Pace()
        self._loss: Tensor | None = None

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        columns = TextColumn("{task.description}"), CustomBarColumn(bar_width=12), BatchesProcessedColumn(style="")
        return [*columns, StateColumn(lambda task: self._state() if task.id == self.train_progress_bar_id else "")]

    def _state(self) -> str:
        parts = [] if self._loss is None else [f"loss {float(self._loss):.4f}"]
        if self.pace.images_per_s:
            parts.append(f"{self.pace.images_per_s:,.0f} images/s")
        left = self.pace.seconds_left(self.trainer)
        if left is not None:
            parts.append(f"{timedelta(seconds=round(left))} left")
        return " · ".join(parts)

    def _init_progress(self, trainer: pl.Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress:
            self.progress.live.transient = True  # the bar disappears when training ends

    def _get_train_description(self, current_epoch: int) -> str:
        return epoch_of(self.trainer)

    @property
    def validation_description(self) -> str:
        return "validation"

    def _update_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning would collect metrics after each batch, which costs time; the bar has its own column."""

    def print(self, *args: Any, **kwargs: Any) -> None:
        if self.is_enabled and self.progress:
            self.progress.console.print(*args, highlight=False, markup=False, soft_wrap=True)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self.pace.start_epoch()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._loss = outputs["loss"] * trainer.accumulate_grad_batches  # Lightning has divided it
        self.pace.add_batch(len(batch[1]) * trainer.world_size, batch_idx)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_start(trainer, pl_module)
        self.pace.start_validation()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if not trainer.sanity_checking:
            self.pace.end_validation()


class Pace:
    """Measures how long batches and validations take, and estimates the time left.

    Args:
        clock: Gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._batch_idx = -1  # of the last batch
        self._started = False  # whether the first batch is over, which takes longer than the others
        self._validated = False  # whether a validation has followed the last batch
        self._batches = self._validations = 0
        self._images = 0  # of this epoch
        self._seconds = self._epoch_seconds = self._validation_seconds = 0.0
        self._batch_ended = self._validation_began = clock()

    @property
    def images_per_s(self) -> float:
        """Images trained per second in this epoch; 0 if unknown."""
        return self._images / self._epoch_seconds if self._epoch_seconds else 0.0

    def start_epoch(self) -> None:
        self._images, self._epoch_seconds, self._batch_idx = 0, 0.0, -1
        self._batch_ended = self._clock()

    def add_batch(self, num_images: int, batch_idx: int) -> None:
        now = self._clock()
        if self._started:
            self._batches += 1
            self._images += num_images
            self._seconds += now - self._batch_ended
            self._epoch_seconds += now - self._batch_ended
        self._batch_ended, self._batch_idx, self._started, self._validated = now, batch_idx, True, False

    def start_validation(self) -> None:
        self._validation_began = self._clock()

    def end_validation(self) -> None:
        self._batch_ended = self._clock()
        self._validated = True
        self._validations += 1
        self._validation_seconds += self._batch_ended - self._validation_began

    def seconds_left(self, trainer: pl.Trainer) -> float | None:
        """Estimate for the rest of the training, validations included once one was measured; None if unknown."""
        per_epoch = trainer.num_training_batches
        done = trainer.current_epoch * per_epoch + self._batch_idx + 1 if math.isfinite(per_epoch) else math.inf
        left = math.inf
        if trainer.max_epochs not in (None, -1) and math.isfinite(per_epoch):
            left = trainer.max_epochs * per_epoch - done
        if trainer.max_steps != -1:
            left = min(left, (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches)
        if not self._batches or math.isinf(left):
            return None
        left = max(0.0, left)
        seconds = left * self._seconds / self._batches
        every_n_epochs = trainer.check_val_every_n_epoch or 1
        interval = trainer.val_check_batch if every_n_epochs == 1 else every_n_epochs * per_epoch
        # Without an interval in batches (it may be a time), validations are not counted.
        if self._validations and interval and math.isfinite(done):
            # The validation after the last batch may not have ended yet.
            passed = done // interval if self._validated else (done - 1) // interval
            validations = (done + left) // interval - passed
            seconds += max(0.0, validations) * self._validation_seconds / self._validations
        return seconds


class StateColumn(ProgressColumn):
    """Text that is computed each time the bar is drawn.

    Args:
        describe: Makes the text for a task.
    """

    def __init__(self, describe: Callable[[Task], str]) -> None:
        super().__init__()
        self.describe = describe

    def render(self, task: Task) -> Text:
        return Text(self.describe(task))


def progress_bar() -> ProgressBar:
    """A bar on a terminal; lines for a file, a pipe, or a terminal that cannot move its cursor."""
    return Bar() if sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") else EpochLines()


def epoch_of(trainer: pl.Trainer) -> str:
    """``epoch 3/10``; ``epoch 3`` if the number of epochs is not limited."""
    limit = f"/{trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""
    return f"epoch {trainer.current_epoch + 1}{limit}"


def epoch_line(trainer: pl.Trainer, validated: bool) -> str:
    """``epoch 3/10 · train/loss 0.1234 · …``, with the metrics that exist."""
    metrics = trainer.callback_metrics
    parts = [epoch_of(trainer)]
    parts += [
        f"{name} {float(metrics[name]):.4f}"
        for name in ("train/loss", "train/acc", "val/loss", "val/acc")
        if name in metrics and (validated or name.startswith("train/"))
    ]
    if "train/images_per_s" in metrics:
        parts.append(f"{float(metrics['train/images_per_s']):,.0f} images/s")
    return " · ".join(parts)
