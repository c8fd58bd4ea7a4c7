"""Texts of a user, such as names of classes and files, made fit to be shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Container


def printable(text: str, without: Container[str] = ()) -> str:
    r"""A text in one line, in which what cannot be shown stands as an escape, for example ``\n`` or ``\udcff``.

    Args:
        text: Any text, also one with bytes that were no UTF-8.
        without: Further characters that cannot be shown.
    """
    return "".join(
        one if one.isprintable() and one not in without else one.encode("unicode_escape").decode() for one in text
    )


def width(text: str) -> int:
    """Columns that a text takes in letters of equal width: two for a Chinese character, none for an accent."""
    return sum(_width_of(character) for character in text)


def shorten(text: str, limit: int) -> str:
    """A text with its middle left out where it is wider than ``limit`` columns, which are at least three."""
    if width(text) <= limit:
        return text
    room = limit - 1  # beside the …
    last = _fitting(text[::-1], room // 2)[::-1]
    return f"{_fitting(text, room - room // 2)}…{last}"


def _fitting(text: str, room: int) -> str:
    """The longest beginning that takes no more than ``room`` columns."""
    for end, character in enumerate(text):
        room -= _width_of(character)
        if room < 0:
            return text[:end]
    return text


def _width_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
