"""The files that an evaluation leaves in the folder of a run."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.training.class_scores import ClassScores, Predictions, wilson
from lit_cnn.training.figures import MAX_NAMED, draw_confusion

# With more classes, the file would be larger than the images; mistakes.csv has what it says.
MAX_CLASSES = 1000
# Of an evaluation that is not the usual one, see lit_cnn.runs.folder.Run.predictions.
PREDICTIONS = "predictions.npz"
FILES = ("per_class.csv", "confusion_matrix.csv", "confusion_matrix.png", "mistakes.csv")
PER_CLASS = ("class", "images", "precision", "precision_low", "precision_high", "recall", "recall_low", "recall_high", "f1")
MISTAKES = ("file", "true", "predicted", "probability", "probability_of_true")


def write_evaluation(
    folder: Path, predictions: Predictions, scores: ClassScores, name_of_image: Callable[[int], str]
) -> None:
    """Writes :data:`FILES` into a folder, all of them or none, and replaces those of an earlier evaluation.

    A share without images, for example the precision of a class that was never predicted, is an empty cell.
    ``confusion_matrix.png`` is left out for more than :data:`~lit_cnn.training.figures.MAX_NAMED` classes,
    ``confusion_matrix.csv`` for more than :data:`MAX_CLASSES`.

    Args:
        folder: It is made if it does not exist.
        predictions: Of each image.
        scores: Numbers of images by class.
        name_of_image: From the position of an image to its file or number.

    Raises:
        OSError: If a file cannot be written.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write(partial, predictions, scores, name_of_image)
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        for path in partial.iterdir():
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_evaluation(folder: Path) -> None:
    """Removes the files of an earlier evaluation."""
    for name in (*FILES, PREDICTIONS):
        (folder / name).unlink(missing_ok=True)


def _write(folder: Path, predictions: Predictions, scores: ClassScores, name_of_image: Callable[[int], str]) -> None:
    whole, probabilities = predictions.arrays()
    names, num_classes = scores.names, len(scores.names)
    _write_rows(folder / "per_class.csv", PER_CLASS, _rows_of_classes(scores))
    if num_classes <= MAX_CLASSES:
        flat = np.bincount(whole[:, 1] * num_classes + whole[:, 2], minlength=num_classes**2)
        confusion = flat.reshape(num_classes, num_classes)
        rows = ([name, *row.tolist()] for name, row in zip(names, confusion, strict=True))
        _write_rows(folder / "confusion_matrix.csv", ["true \\ predicted", *names], rows)
        if num_classes <= MAX_NAMED:
            _write_picture(folder / "confusion_matrix.png", confusion, names)
    wrong = np.flatnonzero(whole[:, 1] != whole[:, 2])
    wrong = wrong[np.argsort(-probabilities[wrong, 0], kind="stable")]
    mistakes = (
        [name_of_image(position), names[label], names[predicted], f"{of_predicted:.6f}", f"{of_true:.6f}"]
        for (position, label, predicted), (of_predicted, of_true) in zip(
            whole[wrong].tolist(), probabilities[wrong].tolist(), strict=True
        )
    )
    _write_rows(folder / "mistakes.csv", MISTAKES, mistakes)


def _write_picture(path: Path, confusion: np.ndarray, names: Sequence[str]) -> None:
    from PIL import Image

    try:
        pixels = draw_confusion(confusion, names)
    except Exception as error:  # whatever fonts and libraries can raise: the tables are worth more
        rank_zero_warn(f"{path.name} cannot be drawn: {' '.join(str(error).split())[:200] or type(error).__name__}")
        return
    Image.fromarray(pixels).save(path)


def _rows_of_classes(scores: ClassScores) -> Iterable[list[Any]]:
    hits, predicted, images = scores.counts
    with np.errstate(invalid="ignore"):
        precision, recall, f1 = hits / predicted, hits / images, 2 * hits / (predicted + images)
    columns = (precision, *wilson(hits, predicted), recall, *wilson(hits, images), f1)
    for name, count, *shares in zip(scores.names, images.tolist(), *columns, strict=True):
        yield [name, count, *("" if np.isnan(share) else f"{share:.6f}" for share in shares)]


def _write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    # Names that are no UTF-8 keep their bytes.
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
