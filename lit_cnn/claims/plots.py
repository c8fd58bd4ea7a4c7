"""The figure of a claim: what was measured in each arm, and how the arms learned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lit_cnn.analysis.drawing import NAME_WIDTH, WIDE, draw_bands, draw_rows, height_of_rows, make_figure, plain, show_count
from lit_cnn.analysis.statistics import Interval, mean_interval
from lit_cnn.claims.describe import known_values
from lit_cnn.claims.results import Results
from lit_cnn.claims.titles import title_of
from lit_cnn.system.text import shorten_all

MAX_PANELS = 3
CURVES_HEIGHT = 2.5  # inches


def figure_of(results: Results) -> Figure | None:
    """The values of each arm by seed with their means and 95 % intervals, one panel a measure, and the curves of the loss.

    Measures that decide come first.

    Args:
        results: Of a claim.

    Returns:
        The figure; None if nothing was measured, as in a claim that is checked exactly.
    """
    study = results.claim.study
    if study is None:
        return None
    arms = list(study.arms)
    names = dict(zip(arms, shorten_all(arms, NAME_WIDTH), strict=True))
    numbers = {arm: number for number, arm in enumerate(arms)}
    panels = _panels(results)
    curves = curves_of(results)
    if not panels and not curves:
        return None
    heights = [height_of_rows(len(rows)) for rows in panels.values()] + [CURVES_HEIGHT] * bool(curves)
    figure = make_figure(sum(heights))
    all_axes: list[Axes] = list(figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    for axes, (measure, rows) in zip(all_axes, panels.items(), strict=False):
        _draw_panel(axes, rows, names, numbers)
        axes.set_xlabel(title_of(measure, study.measures[measure]))
    if curves:
        axes = all_axes[-1]
        draw_bands(axes, {names[arm]: of_arm for arm, of_arm in curves.items()}, {names[arm]: numbers[arm] for arm in arms})
        axes.set_xlabel("step")
        axes.set_ylabel("training loss")
        axes.legend(frameon=False, fontsize="small", ncols=1 + (len(curves) > 4))
    return plain(figure)


def curves_of(results: Results) -> dict[str, list[np.ndarray]]:
    """For each arm the loss by step of each seed at the tuned rate, (n, 2)."""
    study = results.claim.study
    assert study is not None
    rates = {arm: results.best_rate(arm) for arm in study.arms}
    curves: dict[str, list[np.ndarray]] = {}
    for cell, entry in results.of(results.study_cells()).items():
        if cell.rate == rates[cell.arm] and entry["curve"]:
            curves.setdefault(cell.arm, []).append(np.array(entry["curve"], dtype=float))
    return {arm: curves[arm] for arm in study.arms if arm in curves}


def _panels(results: Results) -> dict[str, dict[str, Sequence[float]]]:
    """Values by measure and arm."""
    study = results.claim.study
    assert study is not None
    questions = sorted(study.questions, key=lambda question: not question.decides)
    panels: dict[str, dict[str, Sequence[float]]] = {}
    for measure in dict.fromkeys(question.measure for question in questions):
        asked = {arm for question in questions if question.measure == measure for arm in question.contrast}
        found = {arm: known_values(results, arm, measure) for arm in study.arms if arm in asked}
        found = {arm: values for arm, values in found.items() if values}
        if found:
            panels[measure] = found
    return dict(list(panels.items())[:MAX_PANELS])


def _draw_panel(
    axes: Axes, values: Mapping[str, Sequence[float]], names: Mapping[str, str], numbers: Mapping[str, int]
) -> None:
    known = [value for of_arm in values.values() for value in of_arm]
    log = min(known) > 0 and max(known) > WIDE * min(known)
    if log:
        axes.set_xscale("log")
    elif max(known) >= 10_000:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show_count(value)))
    rows = [(names[arm], _interval(of_arm, log), of_arm) for arm, of_arm in values.items()]
    draw_rows(axes, rows, [numbers[arm] for arm in values])


def _interval(values: Sequence[float], log: bool) -> Interval | None:
    """Of the mean; on a logarithmic axis, of the geometric mean."""
    if len(set(values)) < 2:
        return Interval(values[0], values[0], values[0])
    if not log:
        return mean_interval(values)
    interval = mean_interval(np.log(values))
    return Interval(*(math.exp(end) for end in (interval.value, interval.low, interval.high)))
