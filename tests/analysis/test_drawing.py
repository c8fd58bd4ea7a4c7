"""What the figures of all pages share."""

from __future__ import annotations

import numpy as np
import pytest

from lit_cnn.analysis import drawing
from lit_cnn.analysis.statistics import Interval


@pytest.mark.parametrize(("value", "text"), [(12, "12"), (61706, "61.7 k"), (1.5e9, "1.5 G"), (0.5, "0.5")])
def test_large_numbers_are_short(value: float, text: str):
    assert drawing.show_count(value) == text


def test_a_row_has_its_values_and_its_interval():
    figure = drawing.make_figure(2)
    axes = figure.subplots()
    drawing.draw_rows(axes, [("one", Interval(2, 1, 3), [1.5, 2.5]), ("none", None, []), ("two", None, [4])])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "none", "two"]
    assert [list(line.get_xdata()) for line in axes.lines] == [[1.5, 2.5], [1, 3], [2], [], [4]]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first is on top


def test_curves_of_other_lengths_are_averaged_where_all_are_known():
    figure = drawing.make_figure(2)
    axes = figure.subplots()
    long, short = np.array([[1, 4.0], [3, 2.0], [9, 2.0]]), np.array([[2, 5.0], [4, 3.0]])
    drawing.draw_bands(axes, {"a": [long, short], "b": [np.zeros((0, 2))]}, {"a": 0, "b": 1})
    (line,) = axes.lines
    places, values = line.get_data()
    assert (places[0], places[-1]) == (2, 4)
    assert (values[0], values[-1]) == (4, 2.5)
    assert axes.get_yscale() == "linear"


def test_values_that_cover_much_have_a_logarithmic_axis():
    axes = drawing.make_figure(2).subplots()
    drawing.draw_bands(axes, {"a": [np.array([[1, 10.0], [2, 0.1]])]}, {"a": 7})
    assert axes.get_yscale() == "log"
    assert (axes.lines[0].get_color(), axes.lines[0].get_linestyle()) == ("C1", "--")
