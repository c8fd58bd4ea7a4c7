"""Measures of whole trainings: of their curves, and of a grid of learning rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

# Steps in a running mean.
WINDOW = 20


def steps_to(values: Sequence[float], threshold: float, window: int = WINDOW, below: bool = True) -> int | None:
    """Number of steps after which the running mean first passes a threshold; None if it never does.

    Args:
        values: One for each step, for example the loss. A window with NaN does not pass.
        threshold: Is passed, not only reached.
        window: Last steps in the running mean. There is none before so many.
        below: Whether to fall below the threshold, or to rise above it.

    Raises:
        ValueError: If ``window`` is below 1.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    if len(values) < window:
        return None
    means = np.lib.stride_tricks.sliding_window_view(np.asarray(values, dtype=float), window).mean(axis=1)
    passed = np.flatnonzero(means < threshold if below else means > threshold)
    return int(passed[0]) + window if len(passed) else None


def largest_stable_rate(results: Mapping[float, float | None], chance: float) -> float | None:
    """Largest learning rate of a grid such that it and all lower ones are stable; None if the lowest is not.

    A rate is stable if the accuracy after it exceeds the middle between chance and the best accuracy of the grid. So a
    network that hardly learns at a rate, compared with what it can learn, does not count as stable there.

    Args:
        results: Accuracy for each rate, of one arm with one seed; None or NaN if the training diverged.
        chance: Accuracy of guessing.
    """
    best = max((value for value in results.values() if value is not None and not math.isnan(value)), default=chance)
    largest = None
    for rate, value in sorted(results.items()):
        if value is None or not value > (chance + best) / 2:
            break
        largest = rate
    return largest
