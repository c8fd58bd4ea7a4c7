"""Variants and other things by their names, and what to suggest if there is no such name."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping


def nearest(name: str, names: Collection[str]) -> str:
    """Suggestions for an unknown name: "did you mean …?" with similar names, else all names or where to find them."""
    similar = difflib.get_close_matches(name, names, n=3)
    if similar:
        return f"did you mean {', '.join(similar)}?"
    return f"there are {', '.join(names)}" if len(names) <= 20 else "lit-cnn models lists all"


def resolve_variant(name: str, variants: Collection[str], defaults: Mapping[str, str]) -> str:
    """The variant that a name stands for.

    Args:
        name: A variant, or an architecture by the name of its file or class: ``resnet50``, ``vgg``, ``LitVGG``.
        variants: All variants. A variant's name takes precedence over an architecture's: ``alexnet`` is both.
        defaults: Each architecture's default variant, by the names of its file and its class.

    Raises:
        ValueError: If the name is unknown; suggests similar variants.
    """
    if name in variants:
        return name
    if name in defaults:
        return defaults[name]
    raise ValueError(f"unknown variant {name!r}; {nearest(name, variants)}")
