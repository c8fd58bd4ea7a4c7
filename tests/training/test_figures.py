"""Pictures take any name, and show it."""

from __future__ import annotations

import unicodedata
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure

from lit_cnn.data.splits import ArrayImages
from lit_cnn.training import lettering
from lit_cnn.training.figures import draw_batch, draw_confusion, draw_filters, draw_worst, name_targets

# Mathematics of matplotlib, markup, escapes, control characters, other scripts, bytes that are no UTF-8.
NAMES = [
    "$x_$ and $y^$",
    r"\frac{1}{",
    "100%_{a}^b",
    "a\nb\x00\x1b[31m",
    "long " * 40,
    "שלום",
    "",
    "{}",
    "\udcff\udc80",
    "$$",
]


@pytest.fixture(autouse=True)
def fresh_fonts():
    """Fonts are looked for once in a process."""
    lettering._find_fonts.cache_clear()
    lettering._advise.cache_clear()
    yield
    lettering._find_fonts.cache_clear()
    lettering._advise.cache_clear()


def write_font(path: Path, characters: str) -> None:
    """A font in which each character is a black box."""
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *(f"u{ord(one):X}" for one in characters)])
    builder.setupCharacterMap({ord(one): f"u{ord(one):X}" for one in characters})
    pen = TTGlyphPen(None)
    for place, point in enumerate([(100, 0), (100, 800), (900, 800), (900, 0)]):
        (pen.lineTo if place else pen.moveTo)(point)
    pen.closePath()
    box = pen.glyph()
    builder.setupGlyf(dict.fromkeys(builder.font.getGlyphOrder(), box))
    builder.setupHorizontalMetrics(dict.fromkeys(builder.font.getGlyphOrder(), (1000, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)


def installed(monkeypatch: pytest.MonkeyPatch, *files: Path) -> None:
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: list(map(str, files)))


def some_images(names: list[str]) -> ArrayImages:
    pixels = torch.zeros(len(names), 1, 8, 8, dtype=torch.uint8)
    return ArrayImages(pixels, torch.arange(len(names)), [f"folder/{name}.png" for name in names])


def test_any_name_is_drawn(monkeypatch: pytest.MonkeyPatch):
    installed(monkeypatch)
    with matplotlib.rc_context({"text.usetex": True}):  # as some have it in their settings
        confusion = draw_confusion(np.eye(len(NAMES), dtype=int), NAMES)
        rows = torch.tensor([[1.0, number, 0, 0.5, number] for number in range(len(NAMES))], dtype=torch.float64)
        worst = draw_worst(rows, some_images(NAMES), NAMES)
    assert confusion.dtype == worst.dtype == np.uint8
    assert confusion.std() > 1
    assert worst.std() > 1


def test_any_character_is_drawn_without_a_warning_of_the_library(monkeypatch: pytest.MonkeyPatch):
    installed(monkeypatch)
    random = np.random.default_rng(0)
    names = ["".join(map(chr, random.choice(0x110000, 12))) for _ in range(12)]
    names = [name for name in names if not any(unicodedata.combining(one) for one in name)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        draw_confusion(np.eye(len(names), dtype=int), names)
    assert {str(one.message).partition(":")[0] for one in caught} <= {
        "no installed font has some characters of the names in pictures, which show their numbers instead"
    }


def test_a_font_is_chosen_that_has_the_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_font(tmp_path / "Boxes.ttf", "猫犬")
    (tmp_path / "Broken.ttf").write_bytes(b"no font")
    installed(monkeypatch, tmp_path / "Broken.ttf", tmp_path / "Boxes.ttf")
    with lettering.lettering(["猫", "犬", "cat"]) as show:
        assert show("猫 cat") == "猫 cat"
        assert matplotlib.rcParams["font.family"] == [lettering.BASE_FONT, "Boxes"]
    blank, boxes = (draw_confusion(np.zeros((2, 2), dtype=int), names) for names in (["", ""], ["猫犬猫", "犬"]))
    assert (blank < 100).sum() < (boxes < 100).sum()


def test_without_a_font_names_differ_and_one_line_says_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    installed(monkeypatch)

    def shown(*names: str) -> list[str]:
        with lettering.lettering(names) as show:
            return [show(name) for name in names]

    said = "^no installed font has .*: install a font with {}, for example {}$"
    with pytest.warns(UserWarning, match=said.format("Chinese characters", "fonts-noto-cjk")):
        assert shown("猫", "犬") == [r"\u732b", r"\u72ac"]
    assert shown("ねこ", "犬")[1] == r"\u72ac"  # without another warning
    with pytest.warns(UserWarning, match=said.format("symbols", "fonts-symbola")):
        assert shown("🦊") == [r"\U0001f98a"]


def test_no_font_is_looked_for_without_need(monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        raise AssertionError("fonts were looked for")

    monkeypatch.setattr(font_manager, "findSystemFonts", fail)
    with lettering.lettering(["cat", "Käfer", "сова"]) as show:
        assert show("сова") == "сова"


def test_a_matrix_of_many_classes_is_drawn_without_names():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw_confusion(np.eye(300, dtype=int), ["猫"] * 300).ndim == 3


@pytest.mark.parametrize(("num_classes", "largest", "has_counts"), [(20, 999_999, True), (20, 10**15, False), (3, 12, True)])
def test_counts_fit_into_their_cells(monkeypatch: pytest.MonkeyPatch, num_classes: int, largest: int, has_counts: bool):
    written: list[tuple[float, float]] = []

    def measure(figure: Figure) -> np.ndarray:
        figure.draw_without_rendering()
        (axes,) = figure.axes
        cell = axes.get_window_extent().width / num_classes
        written.extend((text.get_window_extent().width, cell) for text in axes.texts)
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr("lit_cnn.training.figures._pixels_of", measure)
    draw_confusion(np.full((num_classes, num_classes), largest), [f"class {number}" for number in range(num_classes)])
    assert len(written) == has_counts * num_classes**2
    assert all(width < cell for width, cell in written)


def test_filters_are_those_of_the_first_convolution():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.Conv2d(4, 2, 3))
    picture = draw_filters(network)
    assert picture is not None
    assert picture.shape == (2 * 34 + 2, 2 * 34 + 2, 3)
    assert draw_filters(torch.nn.Linear(2, 2)) is None


def test_mixed_images_are_named_by_the_shares_of_their_classes():
    labels, names = torch.tensor([0, 2, 1, 1]), ["cat", "dog", "eel"]
    assert name_targets(labels, None, names) == ["cat", "eel", "dog", "dog"]
    targets = torch.tensor([[0.7, 0.3, 0], [0.061, 0, 0.939], [0.002, 0.998, 0], [0, 1, 0]])
    assert name_targets(labels, targets, names) == ["0.7 cat + 0.3 dog", "0.94 eel + 0.06 cat", "dog", "dog"]


@pytest.mark.parametrize(("channels", "centre", "number"), [(1, None, 1), (3, 8, 9)])
def test_a_batch_is_drawn_in_two_rows(channels: int, centre: int | None, number: int):
    stored = torch.full((number, channels, 10, 10), 250, dtype=torch.uint8)
    seen = torch.zeros(number, channels, 16, 16)
    picture = draw_batch(stored, seen, [f"$x_{one}$" for one in range(number)], centre)
    rows = 2 if number > 8 else 1
    assert picture.shape[2] == 3
    assert abs(picture.shape[0] / rows - 365) < 2
    bright, dark = (picture == 250).all(2), (picture == 0).all(2)
    assert bright.mean() > 0.15
    assert dark.mean() > 0.15
