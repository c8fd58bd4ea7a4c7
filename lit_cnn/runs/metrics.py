"""``metrics.csv`` of a run: one row for each epoch."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lit_cnn.system.whole_files import put_in_place


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file by the names of its columns.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is damaged ({error})") from error


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Replaces a file, whole or not at all. A row has an empty cell for what it does not have.

    Raises:
        OSError: If it cannot be written.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    put_in_place(partial, path)
