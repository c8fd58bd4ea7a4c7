"""The facts of a run that a list of runs shows, read from its files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_cnn.runs.folder import Run


@dataclass(frozen=True)
class RunSummary:
    """Facts of a run; None where the files do not say.

    Args:
        path: Folder of the run.
        dataset: Name of the dataset.
        variant: Name of the network.
        epochs: Number of finished epochs.
        val_acc: Highest validation accuracy, on a scale of 0 to 1.
        test_acc: Test accuracy; None after the run was resumed, until it is tested again.
        looks: Number of looks at the test set.
        num_bytes: Size of all files in the folder.
        date: When it was started or resumed last, with the time zone.
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


def summarise(run: Run) -> RunSummary:
    """Reads the facts of a run. Damaged files count as missing ones."""
    environment = _read(run.read_environment, {})
    results = _read(run.read_results, {})
    rows = _read(run.read_metrics, [])
    # Results are written when training ends; a run under way has only its metrics.
    accuracies = [float(row["val/acc"]) for row in rows if row.get("val/acc")]
    time = environment.get("time")
    return RunSummary(
        path=run.path,
        dataset=environment.get("dataset"),
        variant=environment.get("variant"),
        epochs=len(rows),
        val_acc=results.get("val/acc", max(accuracies, default=None)),
        test_acc=results.get("test/acc"),
        looks=len(run.ledger),
        num_bytes=_num_bytes(run.path),
        date=datetime.fromisoformat(time) if time else None,
    )


def _num_bytes(folder: Path) -> int:
    count = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a run under way replaces its files
            count += path.stat().st_size if path.is_file() else 0
    return count


def _read(method: Callable[[], Any], default: Any) -> Any:
    try:
        return method()
    except (OSError, ValueError):
        return default
