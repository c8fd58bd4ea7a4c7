"""A run's folder: everything that it was, gave and was asked."""

from __future__ import annotations

import csv
import json
import re
import secrets
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from lit_cnn.runs.environment import describe_environment
from lit_cnn.runs.ledger import Ledger


class Run:
    """A folder with ``config.yaml``, ``environment.json``, ``metrics.csv``, ``checkpoints/``, ``results.json`` and
    ``ledger.jsonl``, one line for each look at the test set.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.csv"
        self.results = self.path / "results.json"
        self.ledger = Ledger(self.path / "ledger.jsonl")
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / "last.ckpt"

    @classmethod
    def create(cls, root: str | Path, dataset: str, model: str) -> Run:
        """Makes a folder that no other run has: ``root/dataset/model/time-id``."""
        parent = Path(root, _as_folder_name(dataset), _as_folder_name(model))
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            path = parent / f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """An existing run.

        Raises:
            ValueError: If the folder is missing or holds no run.
        """
        run = cls(path)
        missing = [name for name in ("config.yaml", "environment.json") if not (run.path / name).is_file()]
        if missing:
            problem = f"holds no {missing[0]}" if run.path.is_dir() else "does not exist"
            raise ValueError(f"{path} is not a run folder: it {problem}; runs are like runs/digits/googlenet/…")
        return run

    @classmethod
    def of_checkpoint(cls, checkpoint: str | Path) -> Run | None:
        """The run in whose ``checkpoints`` folder a file lies, if it does."""
        run = cls(Path(checkpoint).parent.parent)
        return run if run.config.is_file() and run.checkpoints.samefile(Path(checkpoint).parent) else None

    def discard_unless_begun(self) -> None:
        """Removes the folder, and those above it that only held it, if no epoch was finished."""
        if self.metrics.exists() or any(self.checkpoints.glob("*.ckpt")):
            return
        shutil.rmtree(self.path)
        for folder in list(self.path.parents)[:3]:
            if folder == Path() or any(folder.iterdir()):
                break
            folder.rmdir()

    @property
    def checkpoint(self) -> Path | None:
        """The best checkpoint, else the last, if there is one: a run that never validated has no best."""
        return next((path for path in (self.best, self.last) if path.is_file()), None)

    def add_results(self, results: dict[str, Any], without: str | None = None) -> None:
        """Adds to ``results.json``, replacing what has the same key and dropping what begins with ``without``."""
        kept = {key: value for key, value in self.read_results().items() if not (without and key.startswith(without))}
        merged = kept | results
        _write(self.results, json.dumps(merged, indent=2) + "\n")

    def read_results(self) -> dict[str, Any]:
        return json.loads(self.results.read_text()) if self.results.is_file() else {}

    def enter_look(self, checkpoint: str, scores: dict[str, float]) -> int:
        """Enters a look at the test set into the ledger; returns how many there have been."""
        return self.ledger.enter(checkpoint, scores)

    def write_environment(self, device: str, precision: str, world_size: int) -> None:
        """Writes ``environment.json``; a resumed run keeps the earlier ones under ``earlier``."""
        path = self.path / "environment.json"
        before = json.loads(path.read_text()) if path.is_file() else {}
        earlier = before.pop("earlier", []) + ([before] if before else [])
        environment = describe_environment(device, precision, world_size) | {"earlier": earlier}
        _write(path, json.dumps(environment, indent=2) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Rows of ``metrics.csv``, one for each epoch."""
        if not self.metrics.is_file():
            return []
        with self.metrics.open(newline="") as file:
            return list(csv.DictReader(file))

    def write_metrics(self, rows: Iterable[dict[str, Any]]) -> None:
        """Replaces ``metrics.csv``."""
        rows = list(rows)
        columns = list(dict.fromkeys(column for row in rows for column in row))
        partial = self.metrics.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(self.metrics)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def _as_folder_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "unnamed"
