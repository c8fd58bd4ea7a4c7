"""The ledger of a run: one line for each look at the test set."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path


class Ledger:
    """A file of JSON lines, to which entries are only added.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def enter(self, checkpoint: str, scores: dict[str, float]) -> int:
        """Adds an entry.

        Args:
            checkpoint: What was tested, relative to the run's folder where it lies there.
            scores: By name, for example ``test/acc``.

        Returns:
            How many entries there are now.
        """
        entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "checkpoint": checkpoint, **scores}
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        return len(self)

    def __len__(self) -> int:
        return len(self.path.read_text().splitlines()) if self.path.is_file() else 0
