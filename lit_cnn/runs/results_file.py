"""``results.json`` of a run, to which several evaluations may add at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lit_cnn.system.json_files import read_object, write_object
from lit_cnn.system.locks import alone


def read_results(path: Path) -> dict[str, Any]:
    """The content of the file; empty without the file.

    Raises:
        ValueError: If it is damaged.
    """
    return read_object(path) if path.is_file() else {}


@contextlib.contextmanager
def changed_results(path: Path) -> Iterator[dict[str, Any]]:
    """The content of the file, which is written at the end with its changes. Other processes wait meanwhile.

    Raises:
        OSError: If it cannot be written.
        ValueError: If it is damaged.
    """
    with alone(path.with_name(f".{path.name}.lock")):
        content = read_results(path)
        yield content
        write_object(path, content)
