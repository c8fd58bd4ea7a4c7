"""Names of runs and of the folders above them."""

from __future__ import annotations

import re


def check_name(name: str) -> None:
    """Checks the name of a run or a study, which becomes the name of a folder.

    Raises:
        ValueError: If it has other characters than those that all file systems take, or too many.
    """
    if not re.fullmatch(r"\w[\w .,+=@-]{,99}(?<! )", name):
        raise ValueError(f"the name of a run must be letters, digits, spaces or any of . , + = @ _ -, got {name!r}")


def as_folder_name(name: str) -> str:
    """The name of the folder for a dataset or a network of this name."""
    return re.sub(r"[^\w-]+", "_", name).strip("_") or "unnamed"
