"""Texts of a user, such as names of classes and files, made fit to be shown."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Sequence


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


def shorten_all(texts: Sequence[str], limit: int) -> list[str]:
    """Texts shortened so that those that differ still do: by the part in which they differ, or else by a number.

    Args:
        texts: Equal texts stay equal.
        limit: Columns that each takes at most, 12 or more.
    """
    shown = {text: shorten(text, limit) for text in texts}
    for short, number in Counter(shown.values()).items():
        if number > 1:
            alike = [text for text in shown if shown[text] == short]
            shown |= zip(alike, _differing(alike, limit), strict=True)
    if len(set(shown.values())) < len(shown):  # a part that differs may equal another short text
        shown = _numbered(list(shown), limit)
    return [shown[text] for text in texts]


def _differing(texts: list[str], limit: int) -> Iterable[str]:
    """The part in which texts differ, after some of their beginning; their beginnings with numbers if it is too long."""
    beginning = _common_beginning(texts)
    rests = [text[len(beginning) :] for text in texts]
    num_common = len(_common_beginning([rest[::-1] for rest in rests]))
    parts = [rest[: len(rest) - num_common] for rest in rests]
    room = limit - 2 - max(map(width, parts))  # beside two …
    if room < 1:
        return _numbered(texts, limit).values()
    return [f"{_fitting(beginning, room)}…{part}…" for part in parts]


def _common_beginning(texts: list[str]) -> str:
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((place for place, (one, other) in pairs if one != other), len(first))]


def _numbered(texts: list[str], limit: int) -> dict[str, str]:
    marks = [f" #{number}" for number in range(1, len(texts) + 1)]
    return {text: shorten(text, limit - len(mark)) + mark for text, mark in zip(texts, marks, strict=True)}


def composed(text: str) -> str:
    """A text in the spelling of Unicode in which texts that look the same are equal."""
    return unicodedata.normalize("NFC", text)


def told_apart(*texts: str) -> tuple[str, ...]:
    """Different texts as a message shows them: with escapes if they look the same."""
    alike = len({composed(text) for text in texts}) < len(texts)
    return tuple(ascii(text) if alike else text for text in texts)


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
