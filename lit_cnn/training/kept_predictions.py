"""The file of predictions that a training or an evaluation leaves in the folder of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.runs.predictions import RunPredictions
from lit_cnn.training.class_scores import Predictions, names_of_classes


def keep_predictions(path: Path, predictions: Predictions, data: Any, split: str, checkpoint: str | None) -> None:
    """Writes predictions. If they cannot be written, a warning says so, and those of an earlier evaluation are removed.

    Args:
        path: The file.
        predictions: Of each image.
        data: The data module; None if it is not known.
        split: ``val`` or ``test``.
        checkpoint: The evaluated checkpoint, relative to the run's folder.
    """
    logits = predictions.logits
    kept = RunPredictions(
        images=names_of_images(data, split, predictions.positions.tolist()),
        labels=predictions.labels,
        logits=logits,
        class_names=names_of_classes(data, logits.shape[1]),
        digest=getattr(data, "test_digest" if split == "test" else "digest", None),
        checkpoint=checkpoint,
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


def names_of_images(data: Any, split: str, positions: Sequence[int]) -> list[str]:
    """File or number of some images of a split; their positions if the data module does not name them."""
    images = getattr(data, "splits", {}).get(split)
    name = str if images is None else images.name
    return [name(position) for position in positions]


def number_of_images(data: Any, split: str) -> int | None:
    """Images of a split; None if the number is not known."""
    if split == "test":
        return getattr(data, "num_test_images", None)
    images = getattr(data, "splits", {}).get(split)
    return None if images is None else len(images.labels)
