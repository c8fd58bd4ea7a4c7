"""How the user's names are written in pictures: never as markup, in fonts that have their characters."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.system.text import printable

BASE_FONT = "DejaVu Sans"  # comes with matplotlib
# Files of fonts in other weights and styles.
STYLES = re.compile(r"bold|italic|oblique|light|thin|black|medium|condensed|demi|heavy", re.I)
EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC", "FULLWIDTH", "BOPOMOFO")

# Packages of fonts in Debian and Ubuntu.
CONTENTS = {
    "fonts-noto-cjk": "Chinese characters",
    "fonts-noto-core": "the letters of your names",
    "fonts-symbola": "symbols",
}


@contextmanager
def lettering(texts: Iterable[str]) -> Iterator[Callable[[str], str]]:
    r"""Within this context, matplotlib takes no text for mathematics, and uses fonts that have the characters of ``texts``.

    Draw within it, not only build the figure. Gives the function through which the texts must pass: what no font has, and
    what cannot be printed, becomes an escape, for example ``\u732b``.
    """
    import matplotlib

    families, missing = _find_fonts(frozenset(printable("".join(texts))))
    with matplotlib.rc_context(
        {
            "text.parse_math": False,
            "text.usetex": False,
            "font.family": [BASE_FONT, *families],
        }
    ):
        yield functools.partial(printable, without=missing)


@functools.lru_cache(maxsize=16)
def _find_fonts(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of installed fonts that have what the base font lacks, and the characters that none has."""
    from matplotlib import font_manager

    missing = {ord(one) for one in characters if not one.isascii()}
    if missing:
        missing -= _characters_of(font_manager.findfont(BASE_FONT))
    families: list[str] = []
    # matplotlib's own list of fonts is made once: it lacks those that were installed later.
    files = sorted(file for file in font_manager.findSystemFonts() if not STYLES.search(file)) if missing else []
    for file in files:
        covered = missing & _characters_of(file)
        if covered and (family := _use_font(file)):
            families.append(family)
            missing -= covered
        if not missing:
            break
    absent = frozenset(map(chr, missing))
    for package in sorted({_package_for(one) for one in absent}):
        _advise(package)
    return tuple(families), absent


def _characters_of(file: str) -> set[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return set(FT2Font(file).get_charmap())
    except (RuntimeError, OSError, ValueError):  # no font that matplotlib can draw
        return set()


def _use_font(file: str) -> str | None:
    """Makes a font known to matplotlib and gives its name; None if it cannot be scaled, as some of emojis."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    font = FT2Font(file)
    if not font.scalable:
        return None
    font_manager.fontManager.addfont(file)
    return font.family_name


def _package_for(character: str) -> str:
    if unicodedata.name(character, "").startswith(EAST_ASIAN):
        return "fonts-noto-cjk"
    return "fonts-symbola" if unicodedata.category(character)[0] == "S" else "fonts-noto-core"


@functools.cache  # once
def _advise(package: str) -> None:
    rank_zero_warn(
        f"no installed font has some characters of the names in pictures, which show their numbers instead: "
        f"install a font with {CONTENTS[package]}, for example {package}"
    )
