"""Rows of a table in a CSV or Parquet file. Imports nothing heavy."""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUFFIXES = (".csv", ".tsv", ".parquet")


def is_table(path: Path) -> bool:
    """Whether this is a file with one of :data:`SUFFIXES`."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def as_path(cell: str) -> str:
    """The path in a cell, with ``/`` and without ``.`` and ``..`` where they can be left out."""
    return posixpath.normpath(cell.replace("\\", "/")) if cell else ""


def read_table(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table, each with its line number and the text in each column.

    Bytes that are no UTF-8 are kept as Python keeps them in names of files.

    Args:
        path: A CSV or Parquet file.
        required: Columns that it has.
        optional: Columns that are read if it has them. Other columns are ignored.

    Raises:
        ValueError: If it cannot be read, has no rows or lacks a column.
    """
    if not path.is_file():
        raise ValueError(f"there is no table {path}")
    rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    columns: list[str] = []
    empty = True
    for line, row in rows:
        if not columns:
            if missing := [column for column in required if column not in row]:
                raise ValueError(f"{path} has no column {missing[0]}; it has {', '.join(row) or 'none'}")
            columns = [column for column in (*required, *optional) if column in row]
        yield line, {column: _as_text(row[column]) for column in columns}
        empty = False
    if empty:
        raise ValueError(f"{path} has no rows below its header")


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            header = file.readline()
            header.encode()  # only names in the rows may have other bytes
            # Spreadsheets write semicolons where a comma separates decimals.
            delimiter = next((mark for mark in "\t;" if mark in header and "," not in header), ",")
            names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
            reader = csv.reader(file, delimiter=delimiter)
            for cells in reader:
                line = reader.line_num + 1  # the header was the first
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(names):
                    raise ValueError(f"{path}, line {line}: {len(cells)} cells, but the header has {len(names)}")
                yield line, dict(zip(names, cells, strict=True))
    except (UnicodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8 ({error})") from error


def _read_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ValueError(f"{path}: Parquet is read with pyarrow: pip install pyarrow, or save the table as CSV") from error
    try:
        with parquet.ParquetFile(path) as file:
            # In batches: a table of all images may be long.
            yield from enumerate((row for batch in file.iter_batches() for row in batch.to_pylist()), start=1)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a Parquet file ({error})") from error


def _as_text(value: Any) -> str:
    return "" if value is None else str(value).strip()
