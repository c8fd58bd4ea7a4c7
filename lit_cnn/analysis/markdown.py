"""Tables of Markdown pages."""

from __future__ import annotations

from collections.abc import Iterable


def markdown_table(columns: Iterable[str], rows: Iterable[Iterable[object]], text_columns: int = 1) -> str:
    """A Markdown table. Columns after the first ones, which hold text, are aligned to the right."""
    columns = list(columns)
    line = ["---"] * text_columns + ["---:"] * (len(columns) - text_columns)
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in [columns, line, *rows])


def percent(mean: float, sd: float | None = None) -> str:
    """A share in percent, with its standard deviation in percentage points."""
    return f"{100 * mean:.2f} %" + (f" ± {100 * sd:.2f}" if sd is not None else "")
