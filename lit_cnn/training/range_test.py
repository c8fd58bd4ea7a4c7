"""The learning-rate range test: a training whose rate rises until the loss does.

Source: Smith 2017, arXiv:1506.01186, Sec. 3.3.
Deviates: The rate rises exponentially, and the training loss is looked at, not the validation accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

# Share of the past in the smoothed loss.
SMOOTHING = 0.95
# The test stops when the smoothed loss is so many times its lowest.
STOP_FACTOR = 4.0
# Steps at the beginning whose smoothed loss is not looked at: it is of too few.
NUM_SKIPPED = 10
# Share of the rate at which the loss is lowest.
SUGGESTED_SHARE = 0.1


class RangeTest(Callback):
    """Raises the learning rate exponentially from step to step, and keeps the loss of each.

    The rates of parameter groups keep their ratio. Schedule and warm-up have no effect.

    Args:
        min_lr: Rate of the first step.
        max_lr: Rate of the last step.
        num_steps: Number of optimiser steps.
    """

    def __init__(self, min_lr: float, max_lr: float, num_steps: int) -> None:
        self.all_rates = np.geomspace(min_lr, max_lr, num_steps).tolist()
        self.losses: list[float] = []  # of the steps that were done
        self._of_batches: list[float] = []  # of this step
        self._has_stepped = False  # in this batch
        self._ratios: list[float] = []

    @property
    def rates(self) -> list[float]:
        """Rate of each step that was done."""
        return self.all_rates[: len(self.losses)]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        groups = trainer.optimizers[0].param_groups
        self._ratios = [group["initial_lr"] / pl_module.hparams["lr"] for group in groups]

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self._has_stepped = True
        rate = self.all_rates[len(self.losses)]
        for group, ratio in zip(optimizer.param_groups, self._ratios, strict=True):
            group["lr"] = rate * ratio

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Not in on_before_backward: the loss there has the scale of mixed precision.
        self._of_batches.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)
        if not self._has_stepped:
            return  # gradients accumulate
        # The loss is that of the weights before this step: those that the rates before it have made.
        self.losses.append(sum(self._of_batches) / len(self._of_batches))
        self._of_batches.clear()
        self._has_stepped = False
        if has_risen(self.losses):
            trainer.should_stop = True


def smooth(losses: Sequence[float]) -> np.ndarray:
    """Exponential mean of the losses so far, without the bias of its beginning; (n,) float64."""
    mean, smoothed = 0.0, []
    for count, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smoothed.append(mean / (1 - SMOOTHING**count))
    return np.array(smoothed)


def has_risen(losses: Sequence[float]) -> bool:
    """Whether the test is over: the smoothed loss is far above its lowest, or not finite."""
    if not losses or not math.isfinite(losses[-1]):
        return bool(losses)
    smoothed = smooth(losses)
    return len(losses) > NUM_SKIPPED and bool(smoothed[-1] > STOP_FACTOR * smoothed.min())


def find_lowest(smoothed: Sequence[float] | np.ndarray) -> int:
    """Index of the lowest of the smoothed losses that are finite; 0 if none is."""
    values = np.asarray(smoothed)
    return int(np.where(np.isfinite(values), values, np.inf).argmin())


def suggest_rate(rates: Sequence[float], losses: Sequence[float]) -> float:
    """A tenth of the rate at which the smoothed loss is lowest, to three digits.

    On the digits, LeNet's loss falls steepest at rates from 0.17 to 2.7, with which LeNet does not learn. A tenth of the
    rate of the lowest loss is 0.02 to 0.045 there; 0.02 was chosen by hand.

    Raises:
        ValueError: If the loss falls nowhere, or still falls in the end.
    """
    lowest = find_lowest(smooth(losses))
    if lowest < NUM_SKIPPED:
        raise ValueError("the loss falls at none of these rates: give a lower --min_lr, or more --num_steps")
    if lowest == len(losses) - 1:
        raise ValueError(f"the loss still falls at {rates[lowest]:.3g}: give a higher --max_lr")
    return float(f"{rates[lowest] * SUGGESTED_SHARE:.3g}")
