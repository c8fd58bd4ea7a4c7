"""Rows of a table in a CSV or Parquet file. Imports nothing heavy."""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Iterator, Sequence
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
        required: Columns that it has, in any capitals.
        optional: Columns that are read if it has them. Other columns are ignored.

    Raises:
        ValueError: If it cannot be read, has no rows, lacks a column or has it twice, or a cell holds several lines.
    """
    if not path.is_file():
        raise ValueError(f"there is no table {path}")
    rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    columns: dict[str, int] = {}
    for line, header, cells in rows:
        columns = columns or _find_columns(path, header, required, optional)
        row = {column: _as_text(cells[number]) for column, number in columns.items()}
        if broken := next((column for column, text in row.items() if len(text.splitlines()) > 1), None):
            raise ValueError(f"{path}, line {line}: the {broken} has several lines; a quote that is not closed?")
        yield line, row
    if not columns:
        raise ValueError(f"{path} has no rows below its header")


def _find_columns(path: Path, header: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """The number of each column that is wanted and there."""
    names = [name.casefold() for name in header]
    for column in (*required, *optional):
        if column in required and column not in names:
            raise ValueError(f"{path} has no column {column}; it has {', '.join(header) or 'none'}")
        if names.count(column) > 1:
            raise ValueError(f"{path} has {names.count(column)} columns {column}: remove all but one")
    return {column: names.index(column) for column in (*required, *optional) if column in names}


# A row: its line, the header and the cells.
Row = tuple[int, Sequence[str], Sequence[Any]]


def _read_csv(path: Path) -> Iterator[Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            header = file.readline()
            header.encode()  # only names in the rows may have other bytes
            # Spreadsheets write semicolons where a comma separates decimals.
            delimiter = next((mark for mark in "\t;" if mark in header and "," not in header), ",")
            names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                line = reader.line_num + 1  # the header was the first
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(names):
                    raise ValueError(f"{path}, line {line}: {len(cells)} cells, but the header has {len(names)}")
                yield line, names, cells
    except UnicodeError as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8 ({error})") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file: {error}; a quote that is not closed?") from error


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ValueError(f"{path}: Parquet is read with pyarrow: pip install pyarrow, or save the table as CSV") from error
    try:
        with parquet.ParquetFile(path) as file:
            # In batches: a table of all images may be long.
            names, batches = file.schema_arrow.names, file.iter_batches()
            rows = (row for batch in batches for row in zip(*(column.to_pylist() for column in batch.columns), strict=True))
            yield from ((line, names, row) for line, row in enumerate(rows, start=1))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a Parquet file ({error})") from error


def _as_text(value: Any) -> str:
    return "" if value is None else str(value).strip()
