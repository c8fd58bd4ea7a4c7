"""The figures of a run's report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lit_cnn.analysis.drawing import SIZE, WIDE, plain
from lit_cnn.inference.calibration import Reliability

# The accuracy of fewer images is not drawn beside another.
LEAST_IN_BIN = 10
# What is drawn of the epochs: title, metrics with their names.
CURVES = (
    ("loss", {"train/loss": "training", "val/loss": "validation"}),
    ("accuracy in %", {"train/acc": "training", "val/acc": "validation"}),
    ("learning rate", {"lr": ""}),
    ("training images per second", {"train/images_per_s": ""}),
)


def draw_curves(rows: Sequence[dict[str, float]]) -> list[tuple[str, Figure]]:
    """A figure for each kind of metric that the epochs have, with its title.

    Args:
        rows: Metrics of each epoch by name.
    """
    figures = []
    for title, metrics in CURVES:
        lines = {name: _points(rows, metric, 100 if metric.endswith("/acc") else 1) for metric, name in metrics.items()}
        lines = {name: points for name, points in lines.items() if len(points)}
        if not lines:
            continue
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        for name, points in lines.items():
            # A line through many epochs needs no marks.
            axes.plot(*points.T, marker="o" if len(points) <= 30 else "", markersize=3.5, linewidth=1.6, label=name)
        values = np.concatenate([points[:, 1] for points in lines.values()])
        if title == "loss" and values.min() > 0 and values.max() > WIDE * values.min():
            axes.set_yscale("log")
        elif title in ("learning rate", "training images per second"):
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        plain(figure)
        if len(lines) > 1:
            axes.legend(frameon=False)
        figures.append((title, figure))
    return figures


def _points(rows: Sequence[dict[str, float]], metric: str, scale: float) -> np.ndarray:
    """Epoch, from 1, and value of a metric, (n, 2)."""
    points = [(row["epoch"] + 1, scale * row[metric]) for row in rows if metric in row and "epoch" in row]
    return np.array(points, dtype=float).reshape(-1, 2)


def draw_before_after(before: Reliability, after: Reliability) -> Figure:
    """Accuracy against confidence with its 95 % band, before and after temperature scaling.

    Bins of fewer than :data:`LEAST_IN_BIN` images are left out.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color="black", linewidth=0.9, linestyle=(0, (4, 3)), label="perfect")
    for found, name, colour in ((before, "before", "C1"), (after, "after", "C0")):
        there = found.counts >= LEAST_IN_BIN
        places = 100 * found.confidences[there]
        axes.fill_between(places, 100 * found.low[there], 100 * found.high[there], color=colour, alpha=0.18, linewidth=0)
        axes.plot(places, 100 * found.accuracies[there], color=colour, marker="o", markersize=4, linewidth=1.6, label=name)
    axes.set_xlabel("probability of the answer in %")
    axes.set_ylabel("right answers in %")
    axes.set_xlim(0, 100)
    axes.set_ylim(-2, 102)
    axes.legend(frameon=False, loc="upper left")
    return plain(figure)


def draw_risk_coverage(curve: np.ndarray, threshold_coverage: float | None) -> Figure:
    """Wrong answers among the answered images, the surest first, between the best order and none.

    Args:
        curve: See :func:`lit_cnn.inference.selective.risks`.
        threshold_coverage: Share of images above the confidence at which 99 % are right; None if there is none.
    """
    number, error = len(curve), float(curve[-1])
    answered = np.arange(1, number + 1)
    best = np.maximum(answered - round(number * (1 - error)), 0) / answered
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    coverages = 100 * answered / number
    chosen = np.unique(np.linspace(0, number - 1, 400).round().astype(int))
    axes.plot([0, 100], [100 * error] * 2, color="black", linewidth=0.9, linestyle=(0, (4, 3)), label="in any order")
    axes.plot(coverages[chosen], 100 * curve[chosen], color="C0", linewidth=1.6, label="surest first")
    axes.plot(coverages[chosen], 100 * best[chosen], color="C2", linewidth=1.2, linestyle=(0, (1, 1.5)), label="best order")
    if threshold_coverage is not None:
        risk = curve[max(round(threshold_coverage * number), 1) - 1]
        axes.plot([100 * threshold_coverage], [100 * risk], color="C1", linestyle="", marker="D", label="99 % right")
    axes.set_xlabel("answered images in %")
    axes.set_ylabel("of these, wrong in %")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 108 * error or 1)
    axes.legend(frameon=False, loc="center left")
    return plain(figure)


def draw_reliability(found: Reliability) -> Figure:
    """A reliability diagram: accuracy against confidence with its 95 % band, and the number of images in each bin."""
    figure = Figure(figsize=(5.2, 4.1), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    there = found.counts > 0
    confidences, accuracies = 100 * found.confidences[there], 100 * found.accuracies[there]
    upper.plot([0, 100], [0, 100], color="black", linewidth=0.9, linestyle=(0, (4, 3)), label="perfect")
    upper.fill_between(confidences, 100 * found.low[there], 100 * found.high[there], color="C0", alpha=0.22, linewidth=0)
    upper.plot(confidences, accuracies, color="C0", marker="o", markersize=4, linewidth=1.6, label="network")
    upper.set_ylabel("accuracy in %")
    upper.set_ylim(-2, 102)
    upper.legend(frameon=False, loc="upper left")
    edges = 100 * np.linspace(0, 1, len(found.counts) + 1)
    lower.bar(edges[:-1], found.counts, width=np.diff(edges), align="edge", color="C0", alpha=0.6)
    lower.set_ylabel("images")
    lower.set_xlabel("probability of the answer in %")
    lower.set_xlim(0, 100)
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    plain(figure)
    return figure
