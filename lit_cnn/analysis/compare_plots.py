"""The figures of a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lit_cnn.analysis.arms import Arm
from lit_cnn.analysis.compare_tables import Names
from lit_cnn.analysis.comparison import Comparison
from lit_cnn.analysis.drawing import (
    NUM_COLOURS,
    SIZE,
    WIDE,
    draw_bands,
    draw_interval,
    draw_rows,
    height_of_rows,
    legend_of,
    make_figure,
    name_rows,
    plain,
    show_count,
)
from lit_cnn.analysis.statistics import Interval

# What is drawn by epoch: metric, title.
CURVES = {
    "val/acc": "validation accuracy in %",
    "val/loss": "validation loss",
    "train/acc": "training accuracy in %",
    "train/loss": "training loss",
}
# What an arm may cost: field of a budget, title.
COSTS = {
    "image_multiply_adds": "multiply-adds of an image",
    "num_parameters": "parameters",
    "seconds": "seconds of training",
}


def draw_differences(comparison: Comparison, names: Names) -> Figure | None:
    """A forest plot: each difference with its 95 % intervals, over seeds and over images, and the margin as a band.

    Args:
        comparison: What was found.
        names: What to call each arm.

    Returns:
        The figure; None if no pair has an interval.
    """
    scale, margin = _scale(comparison), comparison.margin
    intervals = {
        "over seeds": [pair.difference for pair in comparison.pairs],
        "over images": [pair.images.difference if pair.images else None for pair in comparison.pairs],
    }
    intervals = {over: of_pairs for over, of_pairs in intervals.items() if any(of_pairs)}
    if not intervals:
        return None
    firsts = {names[pair.first] for pair in comparison.pairs}
    figure = make_figure(1.1 + 0.45 * len(comparison.pairs))
    axes = figure.subplots()
    if margin:
        axes.axvspan(-scale * margin, scale * margin, color="C2", alpha=0.14, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.9)
    for number, (over, of_pairs) in enumerate(intervals.items()):
        drawn = [(place, interval) for place, interval in enumerate(of_pairs) if interval]
        for place, interval in drawn:
            label = over if place == drawn[0][0] else ""
            draw_interval(axes, _scaled(interval, scale), place + 0.22 * number - 0.11, f"C{number}", label)
    both = [(names[pair.second], names[pair.first]) for pair in comparison.pairs]
    name_rows(axes, [second if len(firsts) == 1 else f"{second}\n− {first}" for second, first in both])
    unit = " in points" if comparison.measure.is_share else ""
    baseline = f"\nto {both[0][1]}" if len(firsts) == 1 else ""
    axes.set_xlabel(f"difference of {comparison.measure.title}{unit}{baseline}")
    figure.legend(frameon=False, fontsize="small", loc="outside upper right", ncols=2)
    return plain(figure)


def draw_arms(comparison: Comparison, names: Names) -> Figure:
    """The values of each arm by seed, with mean and 95 % interval."""
    scale = _scale(comparison)
    rows = [
        (
            names[arm.name],
            _scaled(_clipped(arm.interval, comparison), scale) if arm.interval else None,
            [scale * value for value in arm.values],
        )
        for arm in comparison.arms
    ]
    figure = make_figure(height_of_rows(len(rows)) + 0.2)
    axes = figure.subplots()
    draw_rows(axes, rows, range(len(rows)))
    axes.set_xlabel(_title(comparison))
    return plain(figure)


def draw_costs(comparison: Comparison, names: Names) -> list[tuple[str, Figure]]:
    """For each cost that all arms tell: the measure against it, with the front of the arms that no other beats in both."""
    figures = []
    scale = _scale(comparison)
    for field, title in COSTS.items():
        costs = [getattr(budget, field) for budget in comparison.fairness.budgets]
        if any(cost is None for cost in costs):
            continue
        front = pareto_front(costs, [arm.mean for arm in comparison.arms], comparison.measure.higher_is_better)
        figure = make_figure(SIZE[1], SIZE[0])
        axes = figure.subplots()
        on_front = [(costs[place], scale * comparison.arms[place].mean) for place in front]
        axes.plot(*zip(*on_front, strict=True), color="black", linewidth=0.9, linestyle=(0, (4, 3)), drawstyle="steps-post")
        for place, (arm, cost) in enumerate(zip(comparison.arms, costs, strict=True)):
            colour = f"C{place % NUM_COLOURS}"
            if arm.interval:
                shown = _scaled(_clipped(arm.interval, comparison), scale)
                axes.plot([cost] * 2, [shown.low, shown.high], color=colour, linewidth=1.4)
            face = colour if place in front else "white"
            axes.plot(
                cost,
                scale * arm.mean,
                "o",
                color=colour,
                markerfacecolor=face,
                markersize=7,
                label=legend_of(names[arm.name]),
            )
        if min(costs) > 0 and max(costs) > WIDE * min(costs):
            axes.set_xscale("log")
        axes.margins(0.14)
        if axes.get_xscale() != "log":
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show_count(value)))
        axes.set_xlabel(title)
        axes.set_ylabel(_title(comparison))
        axes.legend(frameon=False, fontsize="small")
        figures.append((title, plain(figure)))
    return figures


def pareto_front(costs: Sequence[float], values: Sequence[float], higher_is_better: bool = True) -> list[int]:
    """Places of the arms that no other arm beats in one of cost and value without losing in the other, by cost."""
    sign = 1 if higher_is_better else -1

    def is_beaten(place: int) -> bool:
        own = (-costs[place], sign * values[place])
        others = [(-cost, sign * value) for cost, value in zip(costs, values, strict=True)]
        return any(other != own and other[0] >= own[0] and other[1] >= own[1] for other in others)

    return sorted((place for place in range(len(costs)) if not is_beaten(place)), key=lambda place: costs[place])


def draw_curves(arms: Sequence[Arm], names: Names) -> list[tuple[str, Figure]]:
    """Metrics by epoch: for each arm the mean over its seeds, in a band from the lowest to the highest."""
    figures = []
    numbers = {names[arm.name]: number for number, arm in enumerate(arms)}
    for metric, title in CURVES.items():
        scale = 100 if metric.endswith("/acc") else 1
        curves = {names[arm.name]: [_curve(run.metrics, metric, scale) for run in arm.runs] for arm in arms}
        if not any(len(curve) for of_arm in curves.values() for curve in of_arm):
            continue
        figure = make_figure(SIZE[1], SIZE[0])
        axes = figure.subplots()
        draw_bands(axes, curves, numbers)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.legend(frameon=False, fontsize="small")
        figures.append((title, plain(figure)))
    return figures


def _curve(rows: Sequence[Mapping[str, str]], metric: str, scale: float) -> np.ndarray:
    """Epoch, from 1, and value, (n, 2); without what is no number."""
    points = [(float(row["epoch"]) + 1, scale * float(row[metric])) for row in rows if row.get(metric)]
    return np.array([point for point in points if math.isfinite(point[1])], dtype=float).reshape(-1, 2)


def _title(comparison: Comparison) -> str:
    split = "test" if comparison.split == "test" else "validation"
    return f"{split} {comparison.measure.title}{' in %' if comparison.measure.is_share else ''}"


def _scale(comparison: Comparison) -> float:
    return 100.0 if comparison.measure.is_share else 1.0


def _scaled(interval: Interval, scale: float) -> Interval:
    return Interval(scale * interval.value, scale * interval.low, scale * interval.high)


def _clipped(interval: Interval, comparison: Comparison) -> Interval:
    clip = comparison.measure.clip
    return Interval(interval.value, clip(interval.low), clip(interval.high))
