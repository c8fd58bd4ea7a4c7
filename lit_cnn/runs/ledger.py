"""The ledger of a run: one line for each look at the test set."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path


class Ledger:
    """A file of JSON lines. Entries are only ever added.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def enter(self, checkpoint: str, scores: dict[str, float]) -> int:
        """Adds an entry.

        Args:
            checkpoint: The tested checkpoint; relative to the run's folder if it lies in it.
            scores: By name, for example ``test/acc``.

        Returns:
            Number of entries.
        """
        entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "checkpoint": checkpoint, **scores}
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        return len(self)

    def __len__(self) -> int:
        return len(self.path.read_text().splitlines()) if self.path.is_file() else 0
