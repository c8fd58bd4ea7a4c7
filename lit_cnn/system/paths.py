"""Paths as users type them."""

from __future__ import annotations

import shlex
from pathlib import Path


def expand(path: str | Path) -> Path:
    """A path whose ``~`` is the home folder.

    Raises:
        ValueError: If it is the home folder of a user who does not exist.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        if Path(path).exists():  # a file that is called ~draft.jpg
            return Path(path)
        raise ValueError(f"{path}: there is no such home folder") from error


def quoted(path: str | Path) -> str:
    """A path as it stands in a command that is printed for a shell."""
    return shlex.quote(str(path))
