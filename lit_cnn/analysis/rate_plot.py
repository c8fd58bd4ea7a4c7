"""The figure of a learning-rate range test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lit_cnn.analysis.drawing import SIZE, make_figure, plain
from lit_cnn.training.range_test import find_lowest


def draw_range_test(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float | None
) -> Figure:
    """Losses over the rates of a range test, with the rate that it suggests.

    Args:
        rates: Of each step, rising.
        losses: Of each step.
        smoothed: Likewise, smoothed.
        suggestion: The suggested rate; None if there is none.
    """
    figure = make_figure(SIZE[1])
    axes = figure.subplots()
    axes.plot(rates, losses, color="C0", linewidth=0.8, alpha=0.5, label="loss of the step")
    axes.plot(rates, smoothed, color="C0", linewidth=1.6, label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color="C1", linewidth=1.2, linestyle=(0, (4, 3)), label=f"suggested: {suggestion:g}")
    axes.set_xscale("log")
    # The last losses may be ten thousand times the others.
    lowest = find_lowest(smoothed)
    falling = np.asarray(losses[: lowest + 1])
    height = max(float(falling.max() - falling.min()), 1e-6)
    axes.set_ylim(falling.min() - 0.1 * height, falling.max() + 0.6 * height)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    plain(figure)
    axes.legend(frameon=False)
    return figure
