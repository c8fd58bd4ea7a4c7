"""What the figures of all pages share: sizes, axes, intervals, and curves with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lit_cnn.analysis.statistics import Interval

SIZE = (3.9, 2.7)  # inches: about as many pixels as a telephone or a quarter of a screen is wide
WIDE_SIZE = 5.4  # inches: the largest width whose letters can be read on a telephone
# Values above 0 that cover more than this ratio are drawn on a logarithmic axis.
WIDE = 30
# With more lines, colours come again, in other dashes.
NUM_COLOURS = 6
DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)))
# Points at which curves of several seeds are averaged.
NUM_POINTS = 40
# Columns of the name of a row.
NAME_WIDTH = 26


def make_figure(height: float, width: float = WIDE_SIZE) -> Figure:
    """An empty figure, in inches, without pyplot: nothing is kept after it is written."""
    return Figure(figsize=(width, height), layout="constrained")


def plain(figure: Figure) -> Figure:
    """The figure with a light grid, and without a frame above and at the right."""
    for axes in figure.axes:
        axes.grid(linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def style_of(number: int) -> dict[str, Any]:
    """Colour and dashes of the line of an arm, by its place among the arms."""
    return {"color": f"C{number % NUM_COLOURS}", "linestyle": DASHES[number // NUM_COLOURS % len(DASHES)]}


def legend_of(name: str) -> str:
    """A name for a legend, from which matplotlib leaves out those that begin with an underscore."""
    return f" {name}" if name.startswith("_") else name


def show_count(value: float) -> str:
    """A large number in a few characters: ``62 k``, ``1.5 G``."""
    for power, unit in ((12, " T"), (9, " G"), (6, " M"), (3, " k")):
        if abs(value) >= 10**power:
            return f"{value / 10**power:.3g}{unit}"
    return f"{value:g}"


def height_of_rows(number: int) -> float:
    """Inches that an axis with so many named rows takes, with its title below."""
    return 0.65 + 0.3 * number


def draw_rows(
    axes: Axes,
    rows: Sequence[tuple[str, Interval | None, Sequence[float]]],
    colours: Sequence[int] | None = None,
) -> None:
    """A row for each name: its values as dots, their interval as a line with a mark at its middle.

    Args:
        axes: Where to draw.
        rows: Name, interval and values of each, the first on top. Either may be missing.
        colours: Number of the colour of each; all the first if not given.
    """
    for place, (_, interval, values) in enumerate(rows):
        colour = f"C{(colours[place] if colours else 0) % NUM_COLOURS}"
        # Beside each other, so that equal values are seen.
        offsets = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(len(values))
        axes.plot(values, place + offsets, color=colour, linestyle="", marker="o", markersize=3.5, alpha=0.5)
        if interval is not None:
            draw_interval(axes, interval, place, colour)
    name_rows(axes, [name for name, _, _ in rows])


def draw_interval(axes: Axes, interval: Interval, place: float, colour: str, label: str = "") -> None:
    """A line from end to end with a mark at the value, at a height of an axis."""
    axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot([interval.value], [place], color=colour, linestyle="", marker="D", markersize=5.5, label=label)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names beside the rows of an axis, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def draw_bands(axes: Axes, curves: Mapping[str, Sequence[np.ndarray]], numbers: Mapping[str, int]) -> None:
    """For each arm the mean of its curves, in a band from the lowest to the highest.

    Curves are interpolated at common places, from the last beginning to the first end.

    Args:
        axes: Where to draw.
        curves: For each arm one curve a seed, (n, 2): place and value.
        numbers: Place of each arm among all arms, for its colour.
    """
    for arm, of_arm in curves.items():
        known = [curve for curve in of_arm if len(curve)]
        if not known:
            continue
        places, values = _in_common(known)
        style = style_of(numbers[arm])
        if len(known) > 1:
            axes.fill_between(places, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.18, linewidth=0)
        mark = "o" if len(places) == 1 else ""
        axes.plot(places, values.mean(axis=0), linewidth=1.6, marker=mark, label=legend_of(arm), **style)
    drawn = [curve for of_arm in curves.values() for curve in of_arm if len(curve)]
    values = np.concatenate([curve[:, 1] for curve in drawn]) if drawn else np.ones(1)
    if values.min() > 0 and values.max() > WIDE * values.min():
        axes.set_yscale("log")


def _in_common(curves: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Places (n,) and the values of each curve there, (len(curves), n)."""
    places = curves[0][:, 0]
    if not all(np.array_equal(curve[:, 0], places) for curve in curves):
        start, end = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
        places = np.linspace(min(start, end), end, NUM_POINTS)
    return places, np.stack([np.interp(places, *curve.T) for curve in curves])
