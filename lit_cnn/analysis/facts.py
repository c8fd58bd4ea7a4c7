"""What the files of a run say of it, and which predictions a report shows."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lit_cnn.analysis.class_table import confusion_of
from lit_cnn.analysis.run_images import read_config
from lit_cnn.data.manifest import FILE_NAME
from lit_cnn.data.splits import Split
from lit_cnn.runs.folder import Run
from lit_cnn.runs.ledger import ImageSet, Ledger, Looks, count_looks
from lit_cnn.runs.monitor import chose_epoch
from lit_cnn.runs.predictions import RunPredictions
from lit_cnn.runs.results import is_complete, leaves_batches_out, other_checkpoint
from lit_cnn.system.json_files import read_object
from lit_cnn.system.text import printable, shorten

# More images than any dataset has.
MAX_IMAGES = 10**12


def _is_share(value: Any) -> bool:
    return _is_amount(value) and value <= 1


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_number_of_images(value: Any) -> bool:
    return _is_amount(value) and value == int(value) and value <= MAX_IMAGES


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or _is_text(value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, int) and _is_number_of_images(one) for one in value.values())


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_object, value))


# What the values in the files of a run must be, as far as a report needs them.
RESULTS: dict[str, Callable[[Any], bool]] = {
    "val/acc": _is_share,
    "test/acc": _is_share,
    "seconds": _is_amount,
    "train/images_per_s": _is_amount,
    **{f"{split}/images": _is_number_of_images for split in ("val", "test")},
    "test/digest": _is_text_or_none,
    "test/checkpoint": _is_text_or_none,
}
DATA: dict[str, Callable[[Any], bool]] = {
    "digest": _is_text,
    "classes": _are_names,
    "channels": _is_number_of_images,
    "counts": _are_counts,
}
ENVIRONMENT: dict[str, Callable[[Any], bool]] = {
    "dataset": _is_text_or_none,
    "variant": _is_text_or_none,
    "packages": _is_object,
    "earlier": _are_objects,
}
NOUNS: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, eq=False)
class RunFacts:
    """What the files of a run say of it.

    Args:
        run: The run.
        config: Its settings.
        environment: Where it was trained.
        results: Scores by name; empty before training ended.
        rows: Metrics of each epoch by name; what is no number is left out.
        data: Name, digest, classes and numbers of the images; empty if there is no manifest.
    """

    run: Run
    config: dict[str, Any]
    environment: dict[str, Any]
    results: dict[str, Any]
    rows: list[dict[str, float]]
    data: dict[str, Any]

    @classmethod
    def read(cls, run: Run) -> RunFacts:
        """Reads the files of a run.

        Raises:
            ValueError: If one of them is damaged; names it.
        """
        manifest = run.path / FILE_NAME
        data = read_object(manifest) if manifest.is_file() else {}
        results, environment = run.read_results(), run.read_environment()
        _check(manifest, data, DATA, complete=manifest.is_file())
        _check(run.results, results, RESULTS)
        if "test/acc" in results and "test/images" not in results:
            raise ValueError(f"{run.results} is damaged: it has no test/images")
        _check(run.environment, environment, ENVIRONMENT)
        rows = [
            {name: number for name, text in row.items() if (number := _number(text)) is not None}
            for row in run.read_metrics()
        ]
        return cls(run, read_config(run), environment, results, rows, data)

    @property
    def is_tested(self) -> bool:
        """Whether its best checkpoint was tested, which is the one that a report shows."""
        return "test/acc" in self.results and self.other_checkpoint is None

    @property
    def other_checkpoint(self) -> str | None:
        """The checkpoint that the test scores are of, if it is not the best one."""
        return other_checkpoint(self.run, self.results)

    @property
    def diverged(self) -> str | None:
        """Why the training diverged; None if it did not."""
        return self.run.diverged

    @property
    def is_finished(self) -> bool:
        """Whether its training came to its end: results are written then, also after a resumed training."""
        return is_complete(self.results, self.rows)

    @property
    def is_chosen(self) -> bool:
        """Whether the validation images chose its best checkpoint."""
        return chose_epoch(self.config, self.rows)

    @property
    def max_epochs(self) -> int | None:
        """Epochs that were asked for; None if their number was not limited."""
        value = self._settings("trainer").get("max_epochs")
        return value if isinstance(value, int) and value > 0 else None

    @property
    def variant(self) -> str:
        return str(self.environment.get("variant"))

    @property
    def dataset(self) -> str:
        return str(self.environment.get("dataset"))

    @property
    def class_name(self) -> str:
        """Name of the class of the model."""
        return str(self._settings("model").get("class_path", "")).rpartition(".")[2]

    @property
    def num_images(self) -> dict[Split, int]:
        """Number of images in each split, as far as it is known."""
        counts = {split: number for split, number in self.data.get("counts", {}).items() if split in NOUNS}
        if self.is_tested and "test/images" in self.results:
            counts.setdefault("test", round(self.results["test/images"]))
        return counts

    def num_scored(self, split: Split) -> int | None:
        """Number of images that the accuracy of a split is of; None if it is not known."""
        if f"{split}/images" in self.results:
            return round(self.results[f"{split}/images"])
        is_partial = split == "val" and leaves_batches_out(self._settings("trainer").get("limit_val_batches"))
        return None if is_partial else self.num_images.get(split)

    @cached_property
    def looks(self) -> Looks:
        """Looks at its test images, its own and those of all runs beside it."""
        images = ImageSet(self.environment.get("dataset"), self.results.get("test/digest"))
        return count_looks(images, self.run.ledger, Ledger(self.run.root / "ledger.jsonl"))

    def _settings(self, part: str) -> dict[str, Any]:
        value = self.config.get(part)
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, eq=False)
class Scored:
    """What a network answered for the images of a split, as far as the run keeps it.

    Args:
        split: ``val`` or ``test``.
        class_names: Name of each class.
        confusion: Number of images, (num_classes, num_classes): rows are true classes, columns predicted ones.
        predictions: Of each image; None if the run only keeps their numbers.
    """

    split: Split
    class_names: tuple[str, ...]
    confusion: np.ndarray
    predictions: RunPredictions | None


def scored_images(facts: RunFacts) -> Scored:
    """The test images if the run was tested, else the validation images; predictions before mere numbers.

    Raises:
        ValueError: If the run keeps neither; names the command that writes them.
    """
    run = facts.run
    splits: tuple[Split, ...] = ("test", "val") if facts.is_tested else ("val",)
    kept = [split for split in splits if run.predictions[split].is_file()]
    tables = {split: run.evaluation_folder(split) / "confusion_matrix.csv" for split in splits}
    for split, table in () if kept else tables.items():
        if table.is_file():
            return Scored(split, *_read_confusion(table), None)
    split = kept[0] if kept else "val"
    predictions = run.read_predictions(split)
    names = tuple(predictions.class_names)
    return Scored(split, names, confusion_of(predictions.labels, predictions.predicted, len(names)), predictions)


def _read_confusion(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes and the numbers of images in a ``confusion_matrix.csv``."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            header, *rows = csv.reader(file)
        names = tuple(header[1:])
        confusion = np.array([[int(cell) for cell in row[1:]] for row in rows], dtype=np.int64)
        if not names or confusion.shape != (len(names), len(names)) or confusion.min() < 0 or not confusion.any():
            raise ValueError("it is no table of classes")
    except (ValueError, OverflowError, csv.Error) as error:
        raise ValueError(f"{path} is damaged ({error}): evaluate the run again") from error
    return names, confusion


def _check(path: Path, content: dict[str, Any], rules: dict[str, Callable[[Any], bool]], complete: bool = False) -> None:
    """Raises a ValueError if a value of a file is not what it must be, or, in a complete file, is missing."""
    for name, is_right in rules.items():
        if name not in content:
            if complete:
                raise ValueError(f"{path} is damaged: it has no {name}")
        elif not is_right(content[name]):
            raise ValueError(f"{path} is damaged: {name} is {shorten(printable(str(content[name])), 40)}")


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
