"""Measures of whole trainings: of their curves, and of a grid of learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lit_cnn.layers.checks import require_positive


def steps_to(values: Sequence[float], threshold: float, window: int = 20, below: bool = True) -> int | None:
    """Number of steps after which the running mean first passes a threshold; None if it never does.

    Args:
        values: One for each step, for example the loss. A window with NaN does not pass.
        threshold: Is passed, not only reached.
        window: Last steps in the running mean. There is none before so many.
        below: Whether to fall below the threshold, or to rise above it.

    Raises:
        ValueError: If ``window`` is below 1.
    """
    require_positive(window=window)
    if len(values) < window:
        return None
    means = np.lib.stride_tricks.sliding_window_view(np.asarray(values, dtype=float), window).mean(axis=1)
    passed = np.flatnonzero(means < threshold if below else means > threshold)
    return int(passed[0]) + window if len(passed) else None


def largest_stable_rate(results: Mapping[float, float | None], chance: float, margin: float = 0.1) -> float | None:
    """Largest learning rate of a grid such that it and all lower ones learned; None if the lowest did not.

    Args:
        results: Accuracy for each rate; None or NaN if the training diverged.
        chance: Accuracy of guessing.
        margin: How far above chance an accuracy must be to count as learned.
    """
    largest = None
    for rate, value in sorted(results.items()):
        if value is None or not value >= chance + margin:
            break
        largest = rate
    return largest
