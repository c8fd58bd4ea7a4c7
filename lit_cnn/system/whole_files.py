"""Files that are replaced whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# Partial files and folders of killed processes are removed after a day.
ABANDONED_S = 24 * 3600


def write_whole(path: Path, text: str) -> None:
    """Replaces a file, whole or not at all.

    Raises:
        OSError: If it cannot be written; names the file.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        put_in_place(partial, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


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
    """Makes sure that a rename survives a power failure, where the file system can do that for a folder."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
