"""Learning-rate schedules as functions of the share of the training that is done, so that resuming needs no saved state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

import pytorch_lightning as pl
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

Schedule = Literal["constant", "step", "cosine", "one_cycle"]
DEFAULT_SCHEDULE: Schedule = "cosine"

# The step schedule divides the learning rate by ten at these shares of the steps, as the ResNet paper does on CIFAR-10
# (He et al. 2015, arXiv:1512.03385, Sec. 4.2: 32k and 48k of 64k).
MILESTONES = (0.5, 0.75)
GAMMA = 0.1
# one_cycle peaks at this share of the steps, and starts at this fraction of the peak (Smith and Topin 2017,
# arXiv:1708.07120).
PEAK = 0.3
START_FACTOR = 1 / 25


def rate_factor(schedule: Schedule, num_steps: int, warmup_ratio: float = 0.0) -> Callable[[int], float]:
    """Factor on the learning rate at each step.

    Args:
        schedule: ``constant``; ``step``: divided by ten after 50 % and after 75 % of the steps; ``cosine``: half a cosine
            down to zero (Loshchilov and Hutter 2017, arXiv:1608.03983); ``one_cycle``: from 1/25 up to 1 in the first 30 %
            of the steps, then down to zero, both along cosines.
        num_steps: Number of steps of the whole training, or of batches: only the share that is done matters.
        warmup_ratio: Share of the steps in which the factor rises linearly from nearly zero, before the schedule starts.

    Raises:
        ValueError: If the schedule is unknown, if the ratio is not in [0, 1), or if it is given to ``one_cycle``, which has
            its own warm-up.
    """
    if not 0 <= warmup_ratio < 1:
        raise ValueError(f"warmup_ratio must be at least 0 and below 1, got {warmup_ratio}")
    if schedule == "one_cycle" and warmup_ratio:
        raise ValueError("schedule one_cycle has its own warm-up: set warmup_ratio to 0")
    curves = {"constant": _constant, "step": _step, "cosine": _cosine, "one_cycle": _one_cycle}
    if schedule not in curves:
        raise ValueError(f"schedule must be one of {', '.join(curves)}, got {schedule!r}")
    curve = curves[schedule]
    warmup_steps = round(num_steps * warmup_ratio)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        done = (step - warmup_steps) / max(1, num_steps - warmup_steps)
        return curve(min(done, 1.0))

    return factor


def depends_on_length(schedule: str, warmup_ratio: float, unfreeze_at: float | None = None) -> bool:
    """Whether a step depends on the length of the whole training: by its learning rate, or by what is frozen."""
    return schedule != "constant" or warmup_ratio > 0 or unfreeze_at is not None


def planned_length(trainer: pl.Trainer) -> dict[str, Any]:
    """The settings that decide how long a training is, for its checkpoints."""
    return {name: getattr(trainer, name) for name in ("max_epochs", "max_steps", "limit_train_batches", "overfit_batches")}


def progress(trainer: pl.Trainer, max_epochs: int | None, max_steps: int) -> tuple[int, int | None]:
    """How much of a training is done, and its length.

    Both are batches, or optimiser steps if ``max_steps`` ends the training first. They are read anew at each step: gradient
    accumulation, the size of the batches and their number may change.

    Args:
        trainer: Trains.
        max_epochs: Of the Trainer, before a callback changed it.
        max_steps: Likewise.

    Returns:
        Done and length; the length is None if the training has no end, or the number of batches is not known yet.
    """
    loop = trainer.fit_loop
    epochs, batches = loop.epoch_progress.current, trainer.num_training_batches
    lengths: list[tuple[int, int]] = []
    if max_epochs is not None and max_epochs != -1 and batches != float("inf"):
        # Between two epochs, the counter of batches still shows the last one.
        within = loop.epoch_loop.batch_progress.current.ready if epochs.ready > epochs.processed else 0
        lengths.append((epochs.processed * int(batches) + within, max_epochs * int(batches)))
    if max_steps != -1:
        lengths.append((trainer.global_step, max_steps))
    if not lengths:
        return 0, None
    return max(lengths, key=lambda pair: (pair[0] / max(1, pair[1]), -pair[1]))


class ProgressLR(LambdaLR):
    """Sets the learning rates by the share of the training that is done.

    Args:
        optimizer: Its groups have their highest rates.
        trainer: Trains with it.
        schedule: See :func:`rate_factor`.
        warmup_ratio: See :func:`rate_factor`.
    """

    def __init__(self, optimizer: Optimizer, trainer: pl.Trainer, schedule: Schedule, warmup_ratio: float) -> None:
        # Not later: finders and StochasticWeightAveraging change them.
        self._progress = partial(progress, trainer, trainer.max_epochs, trainer.max_steps)
        self._needs_length = depends_on_length(schedule, warmup_ratio)

        def factor(_: int) -> float:
            done, length = self._progress()
            return rate_factor(schedule, 1 if length is None else length, warmup_ratio)(done)

        super().__init__(optimizer, factor)

    def start(self, rates: Iterable[float] | None = None) -> None:
        """Sets the rates of the next step, as soon as the number of batches is known.

        Args:
            rates: New highest rate of each group.

        Raises:
            ValueError: If the schedule needs the length of the training, and it has none.
        """
        if self._needs_length and self._progress()[1] is None:
            raise ValueError("the schedule needs the number of batches, which is unknown: set --trainer.max_steps")
        self.base_lrs = self.base_lrs if rates is None else list(rates)
        self._last_lr = [base * factor(0) for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)]
        # A callback that unfreezes layers may have added groups of its own.
        for group, base, rate in zip(self.optimizer.param_groups, self.base_lrs, self._last_lr, strict=False):
            group["initial_lr"], group["lr"] = base, rate

    def state_dict(self) -> dict[str, Any]:
        own = ("_needs_length", "_progress")
        return {key: value for key, value in super().state_dict().items() if key not in own}


def schedule_of(classifier: pl.LightningModule, optimizer: Optimizer) -> ProgressLR:
    """The schedule of a classifier's learning rates.

    Raises:
        ValueError: If the training has no end, and a step depends on its length.
    """
    trainer, hparams = classifier.trainer, classifier.hparams
    schedule, warmup_ratio = hparams["schedule"], hparams["warmup_ratio"]
    endless = trainer.max_epochs == -1 and trainer.max_steps == -1
    if endless and depends_on_length(schedule, warmup_ratio, hparams["unfreeze_at"]):
        cause = f"schedule {schedule}" if depends_on_length(schedule, warmup_ratio) else "unfreeze_at"
        raise ValueError(f"{cause} needs an end: set --trainer.max_epochs or --trainer.max_steps")
    return ProgressLR(optimizer, trainer, schedule, warmup_ratio)


def start_schedules(trainer: pl.Trainer, rates: Iterable[float] | None) -> None:
    """Calls :meth:`ProgressLR.start` of each schedule."""
    for config in trainer.lr_scheduler_configs:
        if isinstance(config.scheduler, ProgressLR):
            config.scheduler.start(rates)


def _constant(_: float) -> float:
    return 1.0


def _step(done: float) -> float:
    return GAMMA ** sum(done >= milestone for milestone in MILESTONES)


def _cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def _one_cycle(done: float) -> float:
    if done < PEAK:
        return START_FACTOR + (1 - START_FACTOR) * (1 - _cosine(done / PEAK))
    return _cosine((done - PEAK) / (1 - PEAK))
