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
    """The rows of a file; one that was cut off when its process was killed is left out.

    Raises:
        ValueError: If another row is damaged; names it.
    """
    # A row is whole if its line has ended: a number that was cut off is a number too.
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    signs = []
    for number, row in enumerate(csv.reader(whole), 1):
        if row == list(COLUMNS):
            continue
        try:
            step, layer, class_name, *measures = row
            numbers = {name: float(cell) for name, cell in zip(MEASURES, measures, strict=True) if cell}
            signs.append(Sign(int(step), layer, class_name, **numbers))
        except ValueError as error:  # no number, or too few or too many cells
            raise ValueError(f"line {number} of {path} is damaged") from error
    return signs
