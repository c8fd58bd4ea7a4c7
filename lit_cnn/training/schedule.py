"""Learning-rate schedules as functions of the step, so that resuming needs no saved state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Schedule = Literal["constant", "step", "cosine", "one_cycle"]

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
        num_steps: Number of steps of the whole training.
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
