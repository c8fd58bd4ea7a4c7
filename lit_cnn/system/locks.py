"""What one process does at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

# Files are changed in less than a second.
LONGEST_WAIT_S = 60


@contextlib.contextmanager
def alone(lock: Path, otherwise: str | None = None) -> Iterator[None]:
    """Holds a lock, whose file is removed at the end. The system releases it if the process is killed.

    Args:
        lock: The file; its folder exists.
        otherwise: What the error says if another process holds it; waits for the other if not given.

    Raises:
        ValueError: If another process holds it.
        TimeoutError: If another process holds it for longer than :data:`LONGEST_WAIT_S`.
    """
    held = FileLock(lock, timeout=LONGEST_WAIT_S if otherwise is None else 0)
    try:
        held.acquire()
    except Timeout:
        if otherwise is None:
            raise TimeoutError(f"{lock} is held by another process: end it, or remove the file") from None
        raise ValueError(otherwise) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # while it is held; Windows removes no open file
            lock.unlink()
        held.release()
