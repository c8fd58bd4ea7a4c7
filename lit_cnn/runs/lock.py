"""One training at a time writes in a run's folder."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

# The lock itself, which the system releases when its process ends in any way; who holds it stands in the other file.
LOCK = ".lock"
HOLDER = ".lock.json"


class RunLock:
    """Keeps other trainings out of a run's folder. Reading needs no lock.

    Args:
        folder: The run's folder.

    Raises:
        ValueError: If another process trains in the folder; names host, process and since when.
    """

    def __init__(self, folder: Path) -> None:
        self._holder = folder / HOLDER
        self._lock_file = folder / LOCK
        self._lock = FileLock(self._lock_file, timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise ValueError(f"{folder} is being trained{self._describe_holder()}: wait until it has ended") from None
        holder = {"host": socket.gethostname(), "process": os.getpid(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
        partial = self._holder.with_name(f"{HOLDER}.partial")
        partial.write_text(json.dumps(holder) + "\n", encoding="utf-8")
        partial.replace(self._holder)

    def release(self) -> None:
        """Lets others train in the folder. Does nothing the second time."""
        if self._lock.is_locked:
            self._holder.unlink(missing_ok=True)
            # While it is held. Windows removes no open file.
            with contextlib.suppress(OSError):
                self._lock_file.unlink()
            self._lock.release()

    def _describe_holder(self) -> str:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            holder = json.loads(self._holder.read_text(encoding="utf-8"))
            return f" by process {holder['process']} on {holder['host']} since {holder['since']}"
        return " by another process"  # which has not yet written who it is
