"""The file of predictions that a training or an evaluation leaves in the folder of a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.runs.predictions import RunPredictions
from lit_cnn.training.class_scores import Predictions, names_of_classes


def keep_predictions(
    path: Path, predictions: Predictions, data: Any, split: str, checkpoint: str | None, step: int | None = None
) -> None:
    """Writes predictions. If they cannot be written, a warning says so, and those of an earlier evaluation are removed.

    Args:
        path: The file.
        predictions: Of each image.
        data: The data module; None if it is not known.
        split: ``val`` or ``test``.
        checkpoint: The evaluated checkpoint, relative to the run's folder.
        step: Number of steps of the optimiser after which it was saved; None if it is not known.
    """
    logits = predictions.logits
    folder, names = _files_of(data, split, predictions.positions.tolist())
    kept = RunPredictions(
        images=names,
        labels=predictions.labels,
        logits=logits,
        class_names=names_of_classes(data, logits.shape[1]),
        digest=getattr(data, "test_digest" if split == "test" else "digest", None),
        checkpoint=checkpoint,
        step=step,
        folder=folder,
    )
    try:
        kept.write(path)
    except (OSError, MemoryError) as error:
        remove_predictions(path)
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        rank_zero_warn(f"the predictions are not written to {path}: {reason}")


def remove_predictions(path: Path) -> None:
    """Removes the file of an earlier network, and its folder if that is then empty."""
    with contextlib.suppress(OSError):  # no such file, a folder that is not empty, a disk that cannot be written
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def _files_of(data: Any, split: str, positions: Sequence[int]) -> tuple[str, list[str]]:
    """The folder of some images of a split, and their files in it; an empty folder and numbers if there are no files."""
    images = getattr(data, "splits", {}).get(split)
    names = [str(position) if images is None else images.name(position) for position in positions]
    folder = os.path.join(getattr(data, "data_dir", None) or "", "")  # noqa: PTH118 - with its separator
    if not all(name.startswith(folder) for name in names):
        return "", names
    return folder, [name.removeprefix(folder) for name in names]


def number_of_images(data: Any, split: str) -> int | None:
    """Images of a split; None if the number is not known."""
    if split == "test":
        return getattr(data, "num_test_images", None)
    images = getattr(data, "splits", {}).get(split)
    return None if images is None else len(images.labels)
