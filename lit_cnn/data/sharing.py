"""Images that several trainings of one process read once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

# What was read in the current context, by what it is of; None outside of one.
_known: ContextVar[dict[Hashable, Any] | None] = ContextVar("known", default=None)


@contextmanager
def sharing_images() -> Iterator[None]:
    """Datasets that are made in this context share the images that they read. They stay in memory as long."""
    before = _known.set({})
    try:
        yield
    finally:
        _known.reset(before)


def read_once(key: Hashable, read: Callable[[], T]) -> T:
    """What a function reads, the first time in a context of :func:`sharing_images`; each time outside of one.

    Args:
        key: All that the result depends on.
        read: Its result is not changed later.
    """
    known = _known.get()
    if known is None:
        return read()
    if key not in known:
        known[key] = read()
    return known[key]
