"""``diagnostics.csv`` of a run: one row for each layer and measured step."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Sign:
    """What was measured of a layer in one step. What a layer does not have is None.

    Args:
        step: Number of updates before the measurement.
        layer: Name of the layer, see :func:`lit_cnn.network.signs.measure_forward`.
        class_name: Class of the layer.
        mean: Mean of its output.
        sd: Standard deviation of its output.
        dead: Share of a ReLU's units that were zero for the whole batch.
        gradient_rms: Root mean square of the gradient of its weight.
        update_ratio: Root mean square of the update of its weight, divided by that of the weight.
    """

    step: int
    layer: str
    class_name: str
    mean: float | None = None
    sd: float | None = None
    dead: float | None = None
    gradient_rms: float | None = None
    update_ratio: float | None = None


COLUMNS = tuple(field.name for field in fields(Sign))
MEASURES = COLUMNS[3:]


def append_signs(path: Path, signs: Iterable[Sign]) -> None:
    """Adds rows to a file, which is made if it does not exist.

    Raises:
        OSError: If it cannot be written.
    """
    is_new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(COLUMNS)
        writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in astuple(sign)] for sign in signs)


def keep_signs_before(path: Path, step: int) -> None:
    """Removes the rows of this and later steps, which a resumed run measures again.

    Raises:
        OSError: If the file cannot be written.
    """
    if not path.is_file():
        return
    kept = [sign for sign in read_signs(path) if sign.step < step]
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    append_signs(partial, kept)
    partial.replace(path)


def read_signs(path: Path) -> list[Sign]:
    """The rows of a file; one that was cut off when its process was killed is left out."""
    signs = []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            if len(row) != len(COLUMNS) or row[0] == COLUMNS[0]:
                continue
            measures = (float(cell) if cell else None for cell in row[3:])
            signs.append(Sign(int(row[0]), row[1], row[2], *measures))
    return signs
