"""Rows of results in a file: CSV, JSON or Parquet. They are written as they come. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TextIO, TypeAlias, get_args

from lit_cnn.commands.output import is_replaced, open_binary_output, open_output
from lit_cnn.commands.resuming import warn

Format: TypeAlias = Literal["csv", "json", "jsonl", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
# Digits behind the point of a number in a CSV file.
DIGITS = 6
# Between the texts of a cell in a CSV file.
BETWEEN = " | "
# Rows of Parquet that are kept until they are written together.
ROW_GROUP = 8192


@dataclass(frozen=True)
class Column:
    """A column of results.

    Args:
        name: Its title.
        cls: What its cells hold: text or None, or several texts, or float32 numbers, or arrays of ``width`` of them.
        width: Numbers in each cell.
    """

    name: str
    cls: Literal["text", "texts", "number", "numbers"] = "text"
    width: int = 1


class RowFile(Protocol):
    """A file that takes rows."""

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Adds rows, with a cell for each column."""

    def end(self) -> None:
        """Writes what is still missing."""


def format_of(chosen: Format | None, output: Path | None) -> Format:
    """The format that is meant: that of the option, else by the ending of the file, else CSV.

    Raises:
        ValueError: If the ending is that of another format; if Parquet cannot be written here.
    """
    ending = output.suffix.lower().lstrip(".") if output else ""
    by_ending = next((one for one in FORMATS if one == ending), None)
    if chosen and by_ending and chosen != by_ending:
        raise ValueError(f"--output {output} has the ending of another format than --format {chosen}: change one of them")
    chosen = chosen or by_ending or "csv"
    if chosen == "parquet":
        check_parquet(output)
    return chosen


def check_parquet(output: Path | None) -> None:
    """Refuses Parquet without pyarrow, and where it cannot be written.

    Raises:
        ValueError: Says what to do.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError("Parquet is written with pyarrow: pip install pyarrow, or choose another ending")
    if output is None or not is_replaced(output):
        raise ValueError("Parquet is written to a file, not to a pipe or a device: --output FILE.parquet")


@contextlib.contextmanager
def open_rows(path: Path | None, chosen: Format, columns: Sequence[Column]) -> Iterator[RowFile]:
    """Opens a file of rows; see :func:`lit_cnn.commands.output.open_output` for what is left after an error.

    Args:
        path: The file; None is standard output.
        chosen: Its format.
        columns: Of each row.
    """
    if chosen == "parquet":
        assert path is not None
        with open_binary_output(path) as binary, _ParquetRows(binary, columns) as rows:
            yield rows
        return
    with open_output(path) as text:
        file: RowFile = _CsvRows(text, columns) if chosen == "csv" else _JsonRows(text, columns, chosen == "json")
        yield file
        file.end()


class _CsvRows:
    def __init__(self, file: TextIO, columns: Sequence[Column]) -> None:
        self.file = file
        self.columns = columns
        self.writer = csv.writer(file, lineterminator="\n")
        self.writer.writerow(column.name for column in columns)

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            self.writer.writerow(_as_text(cell, column) for cell, column in zip(row, self.columns, strict=True))
        self.file.flush()  # somebody may wait for them

    def end(self) -> None:
        self.file.flush()


def _as_text(cell: Any, column: Column) -> Any:
    if column.cls == "texts":
        return BETWEEN.join(cell)
    return f"{cell:.{DIGITS}f}" if column.cls == "number" else cell


class _JsonRows:
    """One object a line, in an array (``json``) or each alone (``jsonl``)."""

    def __init__(self, file: TextIO, columns: Sequence[Column], is_array: bool) -> None:
        self.file = file
        self.names = [column.name for column in columns]
        self.is_number = [column.cls == "number" for column in columns]
        self.is_array = is_array
        self.between = "[\n" if is_array else ""
        self.has_warned = False

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            cells = zip(self.names, row, self.is_number, strict=True)
            # The shortest number that is the same in float32.
            text = self._as_json({name: float(str(cell)) if is_number else cell for name, cell, is_number in cells})
            self.file.write(self.between + text + ("" if self.is_array else "\n"))
            self.between = ",\n" if self.is_array else ""
        self.file.flush()

    def end(self) -> None:
        if self.is_array:
            self.file.write("[]\n" if self.between == "[\n" else "\n]\n")

    def _as_json(self, row: dict[str, Any]) -> str:
        text = json.dumps(row, ensure_ascii=False)
        try:
            text.encode()
        except UnicodeEncodeError:  # a name whose bytes are no UTF-8
            if not self.has_warned:
                warn("JSON holds UTF-8: other bytes of names are written as \\xe9; csv keeps the bytes")
            self.has_warned = True
            return re.sub("[\udc80-\udcff]", lambda byte: rf"\\x{ord(byte[0]) - 0xDC00:x}", text)
        return text


class _ParquetRows:
    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        import pyarrow
        import pyarrow.parquet

        text = pyarrow.string()
        types = {"text": text, "texts": pyarrow.list_(text), "number": pyarrow.float32()}
        fields = [
            (column.name, pyarrow.list_(pyarrow.float32(), column.width) if column.cls == "numbers" else types[column.cls])
            for column in columns
        ]
        self.schema = pyarrow.schema(fields)
        self.table = pyarrow.table
        self.writer = pyarrow.parquet.ParquetWriter(file, self.schema)
        self.rows: list[Sequence[Any]] = []

    def __enter__(self) -> _ParquetRows:
        return self

    def __exit__(self, cls: type[BaseException] | None, *_: object) -> None:
        try:
            if cls is None:
                self.end()
        finally:
            self.writer.close()

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        self.rows += rows
        if len(self.rows) >= ROW_GROUP:
            self._write_group()

    def end(self) -> None:
        self._write_group()

    def _write_group(self) -> None:
        try:
            columns = dict(zip(self.schema.names, zip(*self.rows, strict=True), strict=True)) if self.rows else {}
            if columns:
                self.writer.write_table(self.table({name: list(cells) for name, cells in columns.items()}, self.schema))
        except UnicodeEncodeError as error:
            raise ValueError(f"Parquet holds UTF-8, which {error.object!a} is not: give --output another ending") from error
        self.rows = []
