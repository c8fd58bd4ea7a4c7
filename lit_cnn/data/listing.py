"""Images as a folder or a table lists them, and what follows from the list: classes, groups, splits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from lit_cnn.data.depth import full_scale
from lit_cnn.data.division import Drawing, TooFewUnitsError, join_units
from lit_cnn.data.index import FileFacts
from lit_cnn.data.manifest import Entry, count
from lit_cnn.data.splits import Split
from lit_cnn.system.text import composed


class ListedImage(NamedTuple):
    """An image as a folder or a table names it.

    Args:
        path: Relative to the folder of the images, with ``/``.
        class_name: Its class.
        split: The split that it is put into by hand; None if it is to be drawn.
        group: The group that is never divided between splits.
    """

    path: str
    class_name: str
    split: Split | None = None
    group: str | None = None


@dataclass(frozen=True)
class Listing:
    """All images of a folder or a table.

    Args:
        images: The images, in order.
        own: The splits that are given by hand, also those whose images have no labels.
    """

    images: list[ListedImage]
    own: frozenset[Split] = frozenset()


def classes_of(images: Iterable[ListedImage]) -> tuple[str, ...]:
    """Names of the classes, sorted.

    Raises:
        ValueError: If a split that is given by hand does not hold the classes of the training images.
    """
    found: dict[Split, set[str]] = {"train": set()}
    for image in images:
        found.setdefault(image.split or "train", set()).add(image.class_name)
    names = found["train"]
    for split, classes in found.items():
        if names != classes:
            raise ValueError(f"the classes of the split {split} {describe_difference(names, classes)}")
    return tuple(sorted(names))


def describe_difference(training: set[str], other: set[str]) -> str:
    """How the classes of a split differ from those of the training images."""
    missing, extra = sorted(training - other), sorted(other - training)
    spelt = {composed(name): name for name in extra}
    for name in missing:
        if same := spelt.get(composed(name)):
            return (
                f"differ from those of the training images in how Unicode spells them, "
                f"{same!a} for {name!a}: rename one of the two"
            )
    return (
        "differ from those of the training images"
        + (f"; missing: {', '.join(missing)}" if missing else "")
        + (f"; not in training: {', '.join(extra)}" if extra else "")
    )


def check_spelling(place: Path, names: Iterable[str]) -> None:
    """Refuses classes whose names look the same, because Unicode spells a letter in two ways.

    Args:
        place: The folder or table of the classes.
        names: Their names.

    Raises:
        ValueError: If two names differ only in that.
    """
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(composed(name), name)
        if other != name:
            raise ValueError(
                f"two classes of {place} differ only in how Unicode spells them, {other!a} and {name!a}: give them one name"
            )


def channels_of(images: Iterable[ListedImage], facts: Mapping[str, FileFacts]) -> Literal[1, 3]:
    """1 if all training images are grey, else 3. Files without the header of an image do not count: decoding names them.

    Args:
        images: All images.
        facts: What is known of each file, by path.
    """
    known = [grey for path in _training(images) if (grey := facts[path].grey) is not None]
    return 1 if known and all(known) else 3


def value_range_of(images: Iterable[ListedImage], facts: Mapping[str, FileFacts]) -> tuple[float, float] | None:
    """The :func:`lit_cnn.data.depth.full_scale` of the deep images among the training images; None if there are none.

    Args:
        images: All images.
        facts: What is known of each file, by path.
    """
    return full_scale(values for path in _training(images) if (values := facts[path].values) is not None)


def _training(images: Iterable[ListedImage]) -> list[str]:
    """Paths of the training images; of all images from which these are drawn."""
    return [image.path for image in images if image.split in (None, "train")]


def group_images(images: Sequence[ListedImage], group_by: str) -> list[ListedImage]:
    """Gives each image the group that its path names.

    Args:
        images: The images.
        group_by: Regular expression that is searched in the path; its first group is the name.

    Raises:
        ValueError: If it is no regular expression with a group, or does not match a path; names the first.
    """
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise ValueError(f"group_by {group_by!r} is no regular expression ({error})") from error
    if pattern.groups < 1:
        raise ValueError(rf"group_by {group_by!r} has no group in parentheses, as in '(patient\d+)'")
    grouped = [image._replace(group=found[1]) for image in images if (found := pattern.search(image.path)) and found[1]]
    if len(grouped) < len(images):
        paths = {image.path for image in grouped}
        path = next(image.path for image in images if image.path not in paths)
        raise ValueError(f"group_by {group_by!r} finds no group in {len(images) - len(grouped):,} paths, for example {path}")
    return grouped


def draw_entries(images: Sequence[ListedImage], facts: Mapping[str, FileFacts], drawing: Drawing) -> tuple[Entry, ...]:
    """The images of a manifest, with their splits.

    Args:
        images: The images.
        facts: What is known of each file, by path.
        drawing: How the splits that are not given by hand are drawn.

    Raises:
        ValueError: If no class has enough images for every split to hold one, or, with folds, not every class.
    """
    names = classes_of(images)
    label = {name: number for number, name in enumerate(names)}
    labels = [label[image.class_name] for image in images]
    digests = [facts[image.path].digest for image in images]
    units = join_units(digests, [image.group for image in images])
    try:
        splits = drawing.draw([image.split for image in images], units, labels)
    except TooFewUnitsError as error:
        what = "group" if any(image.group for image in images) else "different image"
        advice = "add images, make fewer folds" if drawing.num_folds else "add images"
        raise ValueError(
            f"the class {names[error.label]} has {count(error.num_units, what)} to draw from, but needs {error.needed}, "
            f"so that every split gets one: {advice}, or choose the splits yourself"
        ) from error
    return tuple(
        Entry(image.path, facts[image.path].stamp[0], digest, image.class_name, image.group, split)
        for image, digest, split in zip(images, digests, splits, strict=True)
    )
