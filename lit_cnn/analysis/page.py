"""The HTML page on which reports stand: one file, light and dark, without scripts and without other files."""

from __future__ import annotations

import base64
import io
import itertools
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from lit_cnn import __version__
from lit_cnn.system.text import printable, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# matplotlib's colours C0, C1, …, which the page draws in the colours of its theme.
SERIES = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")
THEME = {
    "#000000": "currentColor",
    "#ffffff": "var(--surface)",
    "#b0b0b0": "var(--line)",  # of a grid
    "#cccccc": "var(--line)",  # around a legend
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)},
}
# Pictures up to this height and width keep their pixels; others are reduced to the second number.
EXACT_SIZE = 64
LARGEST_SIZE = 160

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Args:
        content: What the template shows.
        missing: Why there is none, and which command makes it; empty if there is.
    """

    content: Any = None
    missing: str = ""

    @classmethod
    def of(cls, make: Callable[[], Any]) -> Section:
        """The part that a function makes, or the reason of the ValueError that it raises."""
        try:
            return cls(make())
        except ValueError as error:
            return cls(missing=" ".join(str(error).split()))


def render(template: str, **content: Any) -> str:
    """A page.

    Texts are escaped: they may hold anything. What cannot be printed stands as an escape, and None as a dash.

    Args:
        template: Name of a file in ``analysis/templates/``. Those of whole pages extend ``page.html``, which needs a
            ``title`` and a ``subtitle``, and take their sections and tables from ``parts.html``.
        content: What the template names. Markup of :func:`svg` stays as it is.

    Raises:
        jinja2.UndefinedError: If the template names what is not given.
    """
    return _environment().get_template(template).render(version=__version__, **content)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": percent, "count": count, "short": short}
    return environment


def percent(share: Any, digits: int = 1) -> str:
    """``87.3 %``; a dash for what is no number."""
    return f"{100 * share:.{digits}f} %" if isinstance(share, int | float) and math.isfinite(share) else "–"


def count(number: Any) -> str:
    """``1,200``; a dash for what is no number."""
    return f"{number:,.0f}" if isinstance(number, int | float | np.integer) and math.isfinite(number) else "–"


def short(text: Any, width: int = 60) -> str:
    """A name of a user as far as it fits, printable."""
    return shorten(printable(str(text)), width)


def _printable(value: Any) -> Any:
    if value is None:
        return "–"
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def svg(figure: Figure, title: str = "") -> Markup:
    """A figure as an element of a page, in the colours of its theme.

    matplotlib's own colours are replaced: black, white, those of grids and legends, and C0 to C5. Words stay text, which
    is smaller than outlines, and which the browser writes in any script. No name is taken for mathematics. Logarithmic
    axes get plain numbers.

    Args:
        figure: As it was drawn with matplotlib's default style.
        title: What it shows, for readers who hear the page.
    """
    import matplotlib
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":  # whose numbers would be mathematics
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axis.set_minor_formatter(NullFormatter())
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    buffer = io.BytesIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "lit_cnn", "text.parse_math": False}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The text stays text: the browser draws it, with fonts of its own.
        warnings.filterwarnings("ignore", r"Glyph \d+ \(.+\) missing from font\(s\) [^.]+\.$", UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    image = buffer.getvalue().decode()
    image = re.sub(r"<(metadata|defs)>\s*(<style.*?</style>)?\s*</\1>|<metadata>.*?</metadata>", "", image, flags=re.DOTALL)
    image = re.sub(r'style="[^"]*"', lambda style: _themed(style[0]), image[image.index("<svg") :])
    image = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), image)
    image = _with_own_ids(image.rstrip())
    return Markup(image.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" fill="currentColor" ', 1))


def _themed(style: str) -> str:
    style = re.sub(r"#[0-9a-f]{6}\b", lambda colour: THEME.get(colour[0], colour[0]), style)
    style = re.sub(r"\bfont: ([^;'\"]*?\d+px) [^;\"]*", r"font-size: \1", style)  # as matplotlib 3.10 writes it
    return re.sub(r"(; )?font-family: [^;\"]*", "", style)


def _with_own_ids(image: str) -> str:
    """An image that keeps the ids to which it refers, under names that no other image of this process has."""
    prefix = f"figure{next(_numbers)}-"
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', image))
    names = {name for pair in used for name in pair if name}
    image = re.sub(r' id="([^"]*)"', lambda found: f' id="{prefix}{found[1]}"' if found[1] in names else "", image)
    return re.sub(r'(xlink:href="#|url\(#)', lambda found: found[0].removeprefix("xlink:") + prefix, image)


def picture(pixels: np.ndarray, largest: int = LARGEST_SIZE) -> str:
    """An image as an address that holds it.

    Small images are kept exactly, as PNG. Larger ones are reduced, as JPEG.

    Args:
        pixels: uint8 (H, W), (H, W, 3), or (H, W, 4) with an opacity, which is always a PNG.
        largest: Height and width to which larger images are reduced, in pixels.
    """
    from PIL import Image

    image, buffer = Image.fromarray(pixels), io.BytesIO()
    if max(image.size) > EXACT_SIZE and image.mode != "RGBA":
        image.thumbnail((largest, largest))
        image.save(buffer, "JPEG", quality=85)
        kind = "jpeg"
    else:
        image.save(buffer, "PNG", optimize=True)
        kind = "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
