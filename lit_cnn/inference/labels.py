"""The labels that images to classify bring with them, and how many predictions agree."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from lit_cnn.data.rows import is_table, read_table
from lit_cnn.training.class_scores import wilson


def find_labels(images: Path, files: Sequence[Path], class_names: Collection[str]) -> list[str | None]:
    """The label of each file: of its row in a table, or the name of a folder above it.

    Folders are labels if they have the names of classes, or lie beside one that has.

    Args:
        images: The folder or the table that was given.
        files: Its images, in order.
        class_names: Names of the classes.
    """
    if is_table(images):
        return [row.get("label") or None for _, row in read_table(images, ("path",), ("label",))]
    if not images.is_dir():
        return [None] * len(files)
    known = set(class_names)
    above = [file.relative_to(images).parts[:-1] for file in files]
    places = [next((place for place, part in enumerate(parts) if part in known), None) for parts in above]
    # The folders in which class folders lie.
    holders = {parts[:place] for parts, place in zip(above, places, strict=True) if place is not None}
    labels: list[str | None] = []
    for parts, known_place in zip(above, places, strict=True):
        beside = (place for place in range(len(parts)) if parts[:place] in holders)
        place = next(beside, None) if known_place is None else known_place
        labels.append(None if place is None else parts[place])
    return labels


def describe_agreement(pairs: Collection[tuple[str, str]], num_unknown: int = 0) -> str:
    """The accuracy in a line, with its 95 % interval.

    Args:
        pairs: Predicted class and label of each image whose label is a class of the network.
        num_unknown: Number of images whose label is no class of the network.
    """
    if not pairs:
        return f"no accuracy: {num_unknown:,} images have labels that the network does not know"
    right = sum(predicted == label for predicted, label in pairs)
    low, high = wilson(np.array(right), np.array(len(pairs)))
    unknown = f"; {num_unknown:,} more have labels that the network does not know" if num_unknown else ""
    return (
        f"accuracy {right / len(pairs):.1%} (95 % interval {low:.1%} to {high:.1%}): "
        f"{right:,} of {len(pairs):,} images with a label are right{unknown}"
    )
