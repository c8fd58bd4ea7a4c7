"""What one process does at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def alone(lock: Path, otherwise: str | None = None) -> Iterator[None]:
    """Holds a lock, whose file is removed at the end. The system releases it if the process is killed.

    Args:
        lock: The file; its folder exists.
        otherwise: What the error says if another process holds it; waits for the other if not given.

    Raises:
        ValueError: If another process holds it.
    """
    held = FileLock(lock, timeout=-1 if otherwise is None else 0)
    try:
        held.acquire()
    except Timeout:
        raise ValueError(otherwise) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # while it is held; Windows removes no open file
            lock.unlink()
        held.release()
