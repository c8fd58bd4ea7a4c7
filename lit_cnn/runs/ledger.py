"""Ledgers: one line for each look at test images."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Ledger:
    """A file of JSON lines. Entries are only ever added.

    Several processes may add entries at the same time. Lines that cannot be read are left out.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def enter(self, entry: dict[str, Any]) -> None:
        """Adds an entry.

        Raises:
            OSError: If the file cannot be written.
        """
        line = json.dumps(entry) + "\n"
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            os.lseek(descriptor, max(0, size - 1), os.SEEK_SET)
            if size and os.read(descriptor, 1) != b"\n":
                line = "\n" + line  # after a line that was not written to its end
            os.write(descriptor, line.encode())  # at the end of the file, in one piece
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def entries(self) -> list[dict[str, Any]]:
        """All entries, in the order in which they were added."""
        if not self.path.is_file():
            return []
        entries = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                entries.append(entry)
        return entries

    def __len__(self) -> int:
        return len(self.entries())


@dataclass(frozen=True)
class ImageSet:
    """Which images were looked at.

    Args:
        name: Name of the dataset; None if it is not known.
        digest: Digest of the images and their labels; None if it is not known.
    """

    name: str | None = None
    digest: str | None = None

    def are_in(self, entry: dict[str, Any]) -> bool:
        """Whether an entry is of a look at these images: by digest, else by the name of the dataset."""
        if self.digest and entry.get("digest"):
            return self.digest == entry["digest"]
        return self.name is not None and self.name == entry.get("data")


@dataclass(frozen=True)
class Looks:
    """How often test images were looked at.

    Args:
        by_run: Looks of the run.
        in_total: Looks of all runs in the same folder of runs, also of those that were removed.
        num_runs: Number of runs that looked.
        ledger: Ledger of all runs.
    """

    by_run: int
    in_total: int
    num_runs: int
    ledger: Path

    def __str__(self) -> str:
        runs = f"{self.num_runs} run{'s' if self.num_runs > 1 else ''}"
        return f"{self.by_run} by this run; look {self.in_total} at these test images, by {runs} ({self.ledger})"


def count_looks(images: ImageSet, of_run: Ledger, of_all: Ledger) -> Looks:
    """Looks at some images in the ledger of a run and in that of all runs."""
    # Where an entry does not name its data, they may have been these.
    own = [look for look in of_run.entries() if images.are_in(look) or look.get("data") is None]
    looks = [look for look in of_all.entries() if images.are_in(look)]
    looks += [look for look in own if look not in looks]  # of a run that was made elsewhere
    runs = {str(look.get("run") or look.get("path")) for look in looks}
    current = Path.cwd()
    shown = of_all.path.relative_to(current) if of_all.path.is_relative_to(current) else of_all.path
    return Looks(len(own), len(looks), len(runs), shown)


def now() -> str:
    """The time of an entry, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
