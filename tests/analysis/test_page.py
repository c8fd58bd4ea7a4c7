"""The page on which reports stand: whatever is on it, it opens without a network and runs nothing."""

import re

import numpy as np
import pytest
from html_pages import check_page
from jinja2 import UndefinedError
from markupsafe import Markup
from matplotlib.figure import Figure

from lit_cnn.analysis import page
from lit_cnn.system.text import printable


def draw(label: str = "loss") -> Figure:
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [1, 0], marker="o", label="a")
    axes.fill_between([0, 1], [0, 0], [1, 0], color="C1", alpha=0.2)
    axes.grid()
    axes.legend()
    axes.set_xlabel(label)
    return figure


def test_a_page_is_whole_and_needs_nothing_from_elsewhere():
    text = page.render("page.html", title="A page", subtitle="of a test")
    check_page(text)
    assert "<title>A page</title>" in text
    assert "prefers-color-scheme: dark" in text


def test_what_a_template_needs_must_be_given():
    with pytest.raises(UndefinedError):
        page.render("page.html")


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</title><b>", "猫 & \u202e \udcff"]
)
def test_texts_are_never_markup(text: str):
    found = check_page(page.render("page.html", title=text, subtitle=text))
    assert not {"script", "img", "b"} & set(found.tags)
    assert printable(text) in "".join(found.texts)


def test_figures_follow_the_theme_of_the_page():
    image = page.svg(draw())
    assert isinstance(image, Markup)
    assert image.startswith("<svg")
    assert "var(--series-1)" in image
    assert "currentColor" in image
    # No colour of matplotlib's own is left.
    assert not re.findall(r"#[0-9a-f]{6}\b", re.sub(r'"#[^"]*"|url\(#[^)]*\)', "", image))


def test_figures_have_no_id_in_common_and_refer_to_their_own():
    ids: list[str] = []
    for image in (page.svg(draw()), page.svg(draw()), page.svg(draw("accuracy"))):
        own = re.findall(r'\bid="([^"]*)"', image)
        assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', image)) == set(own)
        ids += own
    assert len(ids) == len(set(ids)) > 0


def test_words_in_a_figure_are_text_and_no_markup():
    image = page.svg(draw("<script>"), title="a & b")
    assert "<script>" not in image
    assert "&lt;script&gt;" in image
    assert 'aria-label="a &amp; b"' in image


def test_colours_named_in_a_text_stay():
    assert ">#000000</text>" in page.svg(draw("#000000"))


def test_names_in_a_figure_are_no_mathematics_and_need_no_font():
    image = page.svg(draw("cost_$x^2$ 猫"))
    assert ">cost_$x^2$ 猫</text>" in image


def test_logarithmic_axes_have_plain_numbers():
    figure = draw()
    figure.axes[0].set(yscale="log", ylim=(0.1, 100))
    image = page.svg(figure)
    assert ">0.1</text>" in image
    assert "mathdefault" not in image


def test_small_pictures_are_kept_exactly_and_large_ones_reduced():
    small = np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)
    assert page.picture(small).startswith("data:image/png;base64,")
    large = np.zeros((600, 400, 3), dtype=np.uint8)
    uri = page.picture(large)
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < 3000
