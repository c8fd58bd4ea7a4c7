"""Small JSON files that hold names with values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lit_cnn.system.whole_files import write_whole


def read_object(path: Path) -> dict[str, Any]:
    """The content of a file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it holds no names with values")
    return content


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a file, whole or not at all.

    Raises:
        OSError: If it cannot be written; names the file.
    """
    write_whole(path, json.dumps(content, indent=2) + "\n")
