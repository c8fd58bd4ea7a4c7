"""What the results of a run are of: of its whole training or less, of its best checkpoint or another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lit_cnn.runs.folder import Run


def other_checkpoint(run: Run, results: Mapping[str, Any]) -> str | None:
    """The tested checkpoint, if it is not the one that an evaluation takes by itself; else None.

    Args:
        run: The run.
        results: Content of ``results.json``.
    """
    tested, usual = results.get("test/checkpoint"), run.checkpoint
    return str(tested) if tested and usual and run.path / tested != usual else None
