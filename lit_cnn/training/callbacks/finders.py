"""What Lightning's finders of a learning rate or a batch size leave behind before training begins."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BatchSizeFinder, LearningRateFinder

FINDERS = (LearningRateFinder, BatchSizeFinder)
FINDER_NAMES = frozenset(cls.__name__ for cls in FINDERS)
# How the checkpoints are named from which Lightning restores a training after a search.
SEARCH_FILES = (".lr_find_", ".scale_batch_size_")


def searches_rate(trainer: pl.Trainer) -> bool:
    """Whether a callback has searched for the learning rate, or will."""
    return any(isinstance(callback, LearningRateFinder) for callback in trainer.callbacks)


def is_search_file(path: str | Path | None) -> bool:
    """Whether a checkpoint was saved by a finder, for itself."""
    return path is not None and Path(path).name.startswith(SEARCH_FILES)


def limit_batch_size(trainer: pl.Trainer) -> None:
    """Makes a batch size that was found no larger than the number of training images. The batches stay the same."""
    data = trainer.datamodule
    if data is None or not any(isinstance(callback, BatchSizeFinder) for callback in trainer.callbacks):
        return
    images = getattr(data, "splits", {}).get("train")
    if images is not None and data.batch_size > len(images.labels):
        data.batch_size = data.hparams["batch_size"] = len(images.labels)
