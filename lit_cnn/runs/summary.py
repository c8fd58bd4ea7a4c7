"""The facts of a run that a list of runs shows, read from its files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from lit_cnn.runs.folder import Run
from lit_cnn.runs.ledger import ImageSet, count_looks
from lit_cnn.runs.monitor import best_row, monitor_of
from lit_cnn.runs.results import is_complete


@dataclass(frozen=True)
class RunSummary:
    """Facts of a run; None where the files do not say.

    Args:
        path: Folder of the run.
        dataset: Name of the dataset.
        variant: Name of the network.
        epochs: Number of finished epochs.
        val_acc: Validation accuracy of the best checkpoint, on a scale of 0 to 1.
        test_acc: Test accuracy; None after the run was resumed, until it is tested again.
        looks: Number of looks at its own test set.
        num_bytes: Size of all files in the folder.
        date: When it was started or resumed last, with the time zone.
        diverged: Why its training diverged; None if it did not.
    """

    path: Path
    dataset: str | None
    variant: str | None
    epochs: int
    val_acc: float | None
    test_acc: float | None
    looks: int
    num_bytes: int
    date: datetime | None
    diverged: str | None = None


def summarise(run: Run) -> RunSummary:
    """Reads the facts of a run. What is damaged counts as missing."""
    environment = _read(lambda: dict(run.read_environment()), {})
    results = _read(lambda: dict(run.read_results()), {})
    rows = _read(run.read_metrics, [])
    is_final = _read(lambda: is_complete(results, rows), False)
    images = ImageSet(environment.get("dataset"), results.get("test/digest"))
    return RunSummary(
        path=run.path,
        dataset=_read(lambda: str(environment["dataset"]), None),
        variant=_read(lambda: str(environment["variant"]), None),
        epochs=len(rows),
        val_acc=_read(lambda: float(results["val/acc"]) if is_final else None, None) or _best_so_far(run),
        test_acc=_read(lambda: float(results["test/acc"]), None),
        looks=_read(lambda: count_looks(images, run.ledger, run.ledger).by_run, 0),
        num_bytes=_num_bytes(run.path),
        date=_read(lambda: datetime.fromisoformat(environment["time"]), None),
        diverged=_read(lambda: run.diverged, None),
    )


def _best_so_far(run: Run) -> float | None:
    """Validation accuracy of the best checkpoint of a run under way: results are written when training ends."""

    def read() -> float:
        row = best_row(run.read_metrics(), monitor_of(yaml.safe_load(run.config.read_text(encoding="utf-8"))))
        return float(row["val/acc"])

    return _read(read, None)


def _num_bytes(folder: Path) -> int:
    count = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # a run under way replaces its files
                count += Path(parent, name).stat().st_size
    return count


def _read(read: Callable[[], Any], default: Any) -> Any:
    try:
        return read()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return default
