"""Files that are replaced whole."""

from __future__ import annotations

import os
from pathlib import Path


def put_in_place(partial: Path, path: Path) -> None:
    """Renames a finished file over another. After a power failure, the file is the old one or the new one, whole.

    Raises:
        OSError: If it cannot be written.
    """
    with partial.open("rb+") as file:  # Windows writes no file to the disk that is open for reading alone
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes sure that a rename survives a power failure."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
