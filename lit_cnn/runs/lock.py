"""One training at a time writes in a run's folder."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from lit_cnn.system.json_files import write_object

# The lock itself, which the system releases when its process ends in any way; who holds it stands in the other file.
LOCK = ".lock"
HOLDER = ".lock.json"
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class RunLock:
    """Keeps other trainings out of a run's folder. Reading needs no lock; see :func:`is_locked`.

    Args:
        folder: The run's folder.

    Raises:
        ValueError: If another process trains in the folder; names host, process and since when.
        OSError: If the file system locks no files.
    """

    def __init__(self, folder: Path) -> None:
        self._holder = folder / HOLDER
        self._lock_file = folder / LOCK
        self._lock = FileLock(self._lock_file, timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise ValueError(describe_training(folder)) from None
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            text = f"{error.strerror or error} (the file system locks no files: keep runs on another one)"
            raise OSError(error.errno, text, str(self._lock_file)) from error
        holder = {"host": socket.gethostname(), "process": os.getpid(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
        write_object(self._holder, holder)

    def release(self) -> None:
        """Lets others train in the folder. Does nothing the second time."""
        if self._lock.is_locked:
            self._holder.unlink(missing_ok=True)
            # While it is held. Windows removes no open file.
            with contextlib.suppress(OSError):
                self._lock_file.unlink()
            self._lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process trains in a run's folder. Writes nothing, so that it also works where nothing can be written.

    Args:
        folder: The run's folder.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        _try_lock(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)  # which releases it
    return False


def describe_training(folder: Path) -> str:
    """A message that a folder is locked: by which process, on which host, since when."""
    holder = "another process"  # which has not yet written who it is
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        holder = f"process {content['process']} on {content['host']} since {content['since']}"
    return f"{folder} is being trained by {holder}: wait until it has ended"


def _try_lock(descriptor: int) -> None:
    """Raises an OSError if another process has locked the file."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
