"""What one process does at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def alone(lock: Path, otherwise: str) -> Iterator[None]:
    """Holds a lock, whose file is removed at the end. The system releases it if the process is killed.

    Args:
        lock: The file; its folder exists.
        otherwise: What the error says.

    Raises:
        ValueError: If another process holds it.
    """
    held = FileLock(lock, timeout=0)
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
