"""The labels that images to classify bring with them, and how many predictions agree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lit_cnn.data.splits import split_of_name
from lit_cnn.system.text import composed
from lit_cnn.training.class_scores import wilson


def label_folders(folders: Iterable[str], class_names: Collection[str]) -> dict[str, str | None]:
    """The label of the images in each folder: the name of the folder or of one above it; None if there is none.

    Folders are labels if they have the names of classes, or lie beside one that has.

    Args:
        folders: Relative to the folder that was given, with ``/``; that folder itself is empty.
        class_names: Names of the classes.
    """
    spelled = _by_spelling(class_names)
    above = {folder: tuple(folder.split("/")) if folder else () for folder in folders}
    places = {
        folder: _first_class([composed(part) in spelled for part in parts], [bool(split_of_name(part)) for part in parts])
        for folder, parts in above.items()
    }
    # The folders in which class folders lie.
    holders = {above[folder][:place] for folder, place in places.items() if place is not None}
    labels: dict[str, str | None] = {}
    for folder, parts in above.items():
        beside = (place for place in range(len(parts)) if parts[:place] in holders)
        known_place = places[folder]
        place = next(beside, None) if known_place is None else known_place
        labels[folder] = None if place is None else spelled.get(composed(parts[place]), parts[place])
    return labels


def _first_class(are_classes: Sequence[bool], are_splits: Sequence[bool]) -> int | None:
    """Place of the outermost folder with the name of a class. One that is called like a split gives way to one in it."""
    places = [place for place, is_class in enumerate(are_classes) if is_class]
    return next((place for place in places if not are_splits[place]), places[0] if places else None)


def _by_spelling(class_names: Collection[str]) -> dict[str, str]:
    """The classes by what their names look like: another program may have spelled them otherwise in Unicode."""
    return {composed(name): name for name in class_names}


@dataclass
class Agreement:
    """Counts predictions that agree with the labels of their images.

    If the network knows a label at least, images with other labels count as wrong.

    Args:
        class_names: Names of the classes.
    """

    class_names: Collection[str]
    right: int = 0
    known: int = 0
    unknown: int = 0
    unsure: int = 0

    def add(self, class_name: str, label: str | None, is_unsure: bool = False) -> None:
        """Counts an image.

        Args:
            class_name: The predicted class.
            label: The image's; nothing is counted if there is none.
            is_unsure: Whether the prediction is not to be judged.
        """
        if not label:
            return
        known_label = _by_spelling(self.class_names).get(composed(label))
        if is_unsure:
            self.unsure += 1
        elif known_label is None:
            self.unknown += 1
        else:
            self.known += 1
            self.right += class_name == known_label

    def __str__(self) -> str:
        """The accuracy in a line, with its 95 % interval; empty if no image has a label."""
        unsure = f"; {self.unsure:,} more are unsure" if self.unsure else ""
        if not self.known:
            if self.unknown:
                return f"no accuracy: {self.unknown:,} images have labels that the network does not know{unsure}"
            return f"no accuracy: all {self.unsure:,} images with a label are unsure" if unsure else ""
        number = self.known + self.unknown
        low, high = wilson(np.array(self.right), np.array(number))
        unknown = f"; {self.unknown:,} count as wrong: the network does not know their labels" if self.unknown else ""
        return (
            f"accuracy {self.right / number:.1%} (95 % interval {low:.1%} to {high:.1%}): "
            f"{self.right:,} of {number:,} images with a label are right{unknown}{unsure}"
        )
