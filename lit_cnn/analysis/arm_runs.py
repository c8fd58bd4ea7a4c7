"""A run of an arm, read from its files."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from lit_cnn.analysis.seeds import Seed, seed_of
from lit_cnn.runs.folder import DIVERGED, Run
from lit_cnn.runs.lock import describe_training, is_locked
from lit_cnn.runs.monitor import best_row, monitor_of
from lit_cnn.runs.predictions import RunPredictions
from lit_cnn.runs.results import is_complete, other_checkpoint
from lit_cnn.system.paths import quoted

# Ten times as quick, where it is installed.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Of results.json and data.json: what must be a number, a text, a list or a table if it is there.
_TYPES_OF_RESULTS: dict[str, type | tuple[type, ...]] = {
    "seconds": (int, float),
    **dict.fromkeys([f"{split}/{name}" for split in ("test", "val") for name in ("acc", "f1", "loss")], (int, float)),
    **dict.fromkeys([f"{split}/{name}" for split in ("test", "val") for name in ("checkpoint", "digest")], str),
    DIVERGED: str,
}
_TYPES_OF_DATA: dict[str, type | tuple[type, ...]] = {
    "dataset": str,
    "digest": str,
    "classes": list,
    "channels": int,
}


@dataclass(frozen=True, eq=False)
class ArmRun:
    """A finished run and what its files contain.

    Args:
        run: Its folder.
        settings: Content of ``config.yaml``.
        results: Content of ``results.json``.
        metrics: Rows of ``metrics.csv``.
        environment: Content of ``environment.json``.
        data: Content of ``data.json`` without the list of files.
    """

    run: Run
    settings: Mapping[str, Any]
    results: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    environment: Mapping[str, Any]
    data: Mapping[str, Any]

    @property
    def path(self) -> Path:
        return self.run.path

    @cached_property
    def seed(self) -> Seed:
        return seed_of(self.settings)

    @property
    def dataset(self) -> str | None:
        """Name of the dataset; None if it is not known."""
        return self.data["dataset"] or self.environment.get("dataset")

    def value(self, split: str, metric: str) -> float | None:
        """A metric of the best checkpoint, such as ``acc`` on ``test``; None if it was not measured.

        Raises:
            ValueError: If another checkpoint was tested; names the command that tests the best one.
        """
        name = f"{split}/{metric}"
        if name in self.results:
            self._check_checkpoint(split)
            return float(self.results[name])
        row = best_row([row for row in self.metrics if row.get(name)], self.monitor) if split == "val" else None
        return None if row is None else float(row[name])

    @property
    def monitor(self) -> str:
        """What its best checkpoint is judged by."""
        return monitor_of(self.settings)

    def _check_checkpoint(self, split: str) -> None:
        if split == "test" and (other := other_checkpoint(self.run, self.results)):
            assert self.run.checkpoint is not None
            raise ValueError(
                f"the test scores of {self.path} are of {other}, not of "
                f"{self.run.checkpoint.relative_to(self.path).as_posix()}: "
                f"test that one with {self.run.evaluation_command('test')}"
            )

    def predictions(self, split: str) -> RunPredictions:
        """The predictions of the best checkpoint; see :meth:`Run.read_predictions`."""
        if split not in self._predictions:
            self._predictions[split] = self.run.read_predictions(split)
        return self._predictions[split]

    @cached_property
    def _predictions(self) -> dict[str, RunPredictions]:
        return {}


def arguments_of(settings: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    """The arguments of the model or the data in the content of a ``config.yaml``."""
    return (settings.get(group) or {}).get("init_args") or {}


def read_settings(run: Run) -> dict[str, Any]:
    """Content of ``config.yaml``.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        return dict(yaml.load(run.config.read_text(encoding="utf-8"), _Loader) or {})
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise ValueError(f"{run.config} is damaged: remove the run, or train it again") from error


def read_run(run: Run) -> ArmRun:
    """Reads a finished run.

    Raises:
        ValueError: If it is being trained, is unfinished, has diverged, or has a damaged file.
    """
    run = Run.open(run.path)
    if is_locked(run.path):
        raise ValueError(describe_training(run.path))
    settings = read_settings(run)
    results = _read_json(run.results, _TYPES_OF_RESULTS)
    if diverged := results.get(DIVERGED):
        raise ValueError(f"{run.path} diverged ({diverged}): an arm with such a run has no mean; lower its rate")
    rows = _read_metrics(run)
    missing = _unfinished(settings, results, rows) if run.results.is_file() else "it has no results.json"
    if missing:
        raise ValueError(f"{run.path} is unfinished: {missing}; lit-cnn resume {quoted(run.path)} completes it")
    data = _read_json(run.path / "data.json", _TYPES_OF_DATA)
    data = {key: data.get(key) for key in _TYPES_OF_DATA}
    return ArmRun(run, settings, results, rows, run.read_environment(), data)


def _read_json(path: Path, types: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """Content of a file; empty if there is none. Raises a ValueError if it is damaged."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: train the run again") from error
    known = isinstance(content, dict) and all(
        content.get(key) is None or isinstance(content[key], cls) for key, cls in types.items()
    )
    if not known:
        raise ValueError(f"{path} is damaged: train the run again")
    return dict(content)


def _read_metrics(run: Run) -> list[dict[str, Any]]:
    try:
        rows = run.read_metrics()
        for row in rows:
            if None in row or None in row.values():
                raise ValueError("a row with more or fewer cells than titles")
            numbers = [float(cell) for cell in row.values() if cell]
            if not numbers or min(int(row["epoch"]), int(row["step"])) < 0:
                raise ValueError("a row without an epoch")
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"{run.metrics} is damaged: train the run again") from error
    return rows


def _unfinished(settings: Mapping[str, Any], results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """How far a training went that something else than its settings ended: ``it has 3 of 10 epochs``; else empty."""
    trainer = settings.get("trainer") or {}
    max_epochs, max_steps = trainer.get("max_epochs"), trainer.get("max_steps")
    names = str(trainer.get("callbacks"))
    stops_early = settings.get("early_stopping") or "EarlyStopping" in names or "callbacks.Timer" in names
    ends_itself = trainer.get("max_time") or stops_early
    reached = max_steps not in (None, -1) and rows and int(rows[-1]["step"]) >= max_steps
    if ends_itself or reached or max_epochs in (None, -1) or len(rows) >= max_epochs:
        return "" if is_complete(results, rows) else "its training did not come to its end"
    return f"it has {len(rows)} of {max_epochs} epochs"
