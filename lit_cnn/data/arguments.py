"""Which values the arguments of a dataset may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from lit_cnn.data.splits import check_division

Balance: TypeAlias = Literal["none", "weights", "sampler"]
_LEAST = {
    "image_size": 1,
    "batch_size": 1,
    "crop_padding": 0,
    "num_workers": 0,
    "seed": 0,
    "augmentation_seed": 0,
    "split_seed": 0,
    "num_folds": 2,
    "fold": 0,
}


def check_arguments(arguments: Mapping[str, Any], class_name: str, source_without_files: str | None) -> None:
    """Refuses arguments of :class:`lit_cnn.data.module.ImageDataModule` that are out of their range.

    Args:
        arguments: By name.
        class_name: Of the dataset.
        source_without_files: Where the images come from, if it reads no files.

    Raises:
        ValueError: At the first of them.
    """
    if arguments["data_dir"] is not None and source_without_files:
        raise ValueError(
            f"{class_name} reads no files: its images {source_without_files}; remove data_dir={arguments['data_dir']}. "
            f"To train on your own images: --data photos/ (ImageFolder; with make: DATA=photos/)"
        )
    for name, least in _LEAST.items():
        if arguments[name] is not None and arguments[name] < least:
            raise ValueError(f"{name} must be at least {least}, got {arguments[name]}")
    check_division(arguments["val_fraction"], arguments["num_folds"], arguments["fold"])
    if arguments["balance"] not in get_args(Balance):
        raise ValueError(f"balance must be none, weights or sampler, got {arguments['balance']!r}")
