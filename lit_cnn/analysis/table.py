"""A table, before it is printed or put on a page."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """Rows under titles, in the order in which :func:`lit_cnn.commands.tables.print_table` takes them.

    Args:
        columns: Titles.
        rows: A cell for each column.
        numbers: Titles of the columns of numbers.
    """

    columns: Sequence[str]
    rows: Iterable[Sequence[object]]
    numbers: Collection[str] = ()
