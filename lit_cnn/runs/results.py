"""What the results of a run are of: its whole training or less, its best checkpoint or another, all images or some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lit_cnn.runs.folder import Run


def leaves_batches_out(limit: int | float | None) -> bool:
    """Whether a limit of the Trainer, such as ``limit_val_batches``, leaves batches out: 1.0 does not, 1 is one batch."""
    return limit is not None and not (isinstance(limit, float) and limit == 1)


def is_complete(results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether results are of a training that came to its end, and was not resumed and stopped since.

    Args:
        results: Content of ``results.json``.
        rows: Rows of ``metrics.csv``.

    Raises:
        ValueError: If a number of seconds is none.
        TypeError: Likewise.
    """
    seconds, last = results.get("seconds"), rows[-1].get("seconds") if rows else None
    return seconds is not None and float(seconds) >= float(last or 0) - 0.01  # which is rounded


def other_checkpoint(run: Run, results: Mapping[str, Any]) -> str | None:
    """The tested checkpoint, if it is not the one that an evaluation takes by itself; else None.

    Args:
        run: The run.
        results: Content of ``results.json``.
    """
    tested, usual = results.get("test/checkpoint"), run.checkpoint
    return str(tested) if tested and usual and run.path / tested != usual else None
