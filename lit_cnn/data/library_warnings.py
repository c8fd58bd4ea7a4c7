"""Warnings of libraries that decode images: they name no file, so that they help nobody on a screen."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_thread = threading.local()


class _Recorder:
    """Matches every warning of a thread that records its warnings, and no other: stands in place of a regular expression."""

    def match(self, message: str) -> bool:
        recorded: list[str] | None = getattr(_thread, "recorded", None)
        if recorded is not None:
            recorded.append(" ".join(message.split()))
        return recorded is not None


# ``warnings.catch_warnings`` is not safe with threads: it replaces the filters of all of them.
_FILTER = ("ignore", _Recorder(), Warning, None, 0)


@contextmanager
def recorded_warnings() -> Iterator[list[str]]:
    """Takes the warnings that this thread gives in this context, whatever filters there are; other threads keep theirs.

    Python gives a warning once for each line of code: one that was shown before, outside of this context, may be missing.

    Yields:
        Their texts, so far.
    """
    with _lock:
        if not warnings.filters or warnings.filters[0] is not _FILTER:
            warnings.filters.insert(0, _FILTER)  # type: ignore[attr-defined, arg-type]
    before = getattr(_thread, "recorded", None)
    recorded: list[str] = []
    _thread.recorded = recorded
    try:
        yield recorded
    finally:
        _thread.recorded = before
