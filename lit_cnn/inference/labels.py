"""The labels that images to classify bring with them, and how many predictions agree."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from lit_cnn.data.rows import is_table, read_table
from lit_cnn.training.callbacks.looks import with_interval


def find_labels(images: Path, files: Sequence[Path], class_names: Collection[str]) -> list[str | None]:
    """The label of each file: of its row in a table, or the name of a class that a folder above it has.

    Args:
        images: The folder or the table that was given.
        files: Its images, in order.
        class_names: Names of the classes; only folders of these names are labels.
    """
    if is_table(images):
        return [row.get("label") or None for _, row in read_table(images, ("path",), ("label",))]
    if not images.is_dir():
        return [None] * len(files)
    known = set(class_names)
    return [next((part for part in file.relative_to(images).parts[:-1] if part in known), None) for file in files]


def describe_agreement(pairs: Collection[tuple[str, str]], num_unknown: int = 0) -> str:
    """The accuracy in a line, with its 95 % interval.

    Args:
        pairs: Predicted class and label of each image whose label is a class of the network.
        num_unknown: Number of images whose label is no class of the network.
    """
    right = sum(predicted == label for predicted, label in pairs)
    scores = with_interval({"test/acc": right / len(pairs), "test/images": len(pairs)})
    unknown = f"; {num_unknown:,} more have labels that the network does not know" if num_unknown else ""
    return (
        f"accuracy {scores['test/acc']:.1%} (95 % interval {scores['test/acc_low']:.1%} to {scores['test/acc_high']:.1%}): "
        f"{right:,} of {len(pairs):,} images with a label are right{unknown}"
    )
