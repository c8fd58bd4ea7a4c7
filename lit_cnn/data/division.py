"""Splits that stand still: what an image is used for follows from its content."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from lit_cnn.data.splits import TEST_SPLIT_SEED, Split


def join_units(digests: Sequence[str], groups: Sequence[str | None]) -> list[str]:
    """The unit of each image. Equal images and images of one group are one unit, which is never divided.

    Args:
        digests: Digest of the content of each image.
        groups: Group of each image; None if it has none.

    Returns:
        A name for each image: the first name of the groups in its unit, or its digest if it has no group.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := parent.setdefault(name, name)) != name:
            parent[name] = name = parent[above]
        return name

    names = [digest if group is None else f"group {group}" for digest, group in zip(digests, groups, strict=True)]
    first: dict[str, str] = {}  # of each digest, the name of its first image
    for digest, name in zip(digests, names, strict=True):
        ends = sorted((root(name), root(first.setdefault(digest, name))), key=_groups_first)
        # The first name becomes the root, so that it does not depend on the order of the images.
        parent[ends[1]] = ends[0]
    return [root(name) for name in names]


def _groups_first(name: str) -> tuple[bool, str]:
    """Sorts groups before digests: a copy without a group must not rename the unit of a group, which would move it."""
    return not name.startswith("group "), name


def divide(
    units: Sequence[str],
    labels: Sequence[int],
    shares: Sequence[float],
    salt: str,
    minimum: Sequence[int] | None = None,
    small: Collection[int] = (),
) -> list[int]:
    """Divides images into parts by a hash of each unit: adding or removing images moves no other image.

    There is one exception. A part that would hold too few units of a class gets those whose hashes are nearest.

    Args:
        units: Unit of each image, see :func:`join_units`. A unit is never divided.
        labels: Class of each image.
        shares: Share of each part; their sum is 1.
        salt: Another text gives another division.
        minimum: Units of each class that each part holds at least; 1 if not given.
        small: Classes that stay in the last part, but for units that they share with other classes. That part holds one
            unit of each at least.

    Returns:
        The number of the part of each image.

    Raises:
        ValueError: If a class has fewer units than the minimum of all parts together; names its label.
    """
    least = list(minimum or [1] * len(shares))
    bounds = np.cumsum([0.0, *shares])
    hashes = {unit: _hash(unit, salt) for unit in dict.fromkeys(units)}
    numbers = np.searchsorted(bounds[1:-1], list(hashes.values()), "right").tolist()
    part: dict[str, int] = dict(zip(hashes, numbers, strict=True))
    by_class = _units_by_class(units, labels)
    of_class = {label: [0] * (len(least) - 1) + [1] if label in small else least for label in by_class}
    owner: dict[str, int] = {}
    shared: dict[str, set[int]] = {}  # units of several classes, of which there are few
    for label, members in by_class.items():
        if len(members) < sum(of_class[label]):
            raise TooFewUnitsError(label, len(members), sum(of_class[label]))
        for unit in members:
            if (first := owner.setdefault(unit, label)) != label:
                shared.setdefault(unit, {first}).add(label)

    def classes_of(unit: str) -> Collection[int]:
        return shared.get(unit) or (owner[unit],)

    if small:
        part |= {unit: len(least) - 1 for unit in hashes if all(label in small for label in classes_of(unit))}

    def spare(label: int, unit: str) -> bool:
        return sum(part[other] == part[unit] for other in by_class[label]) > of_class[label][part[unit]]

    for label in sorted(by_class):
        for target, needed in enumerate(of_class[label]):
            while sum(part[unit] == target for unit in by_class[label]) < needed:
                outside = [unit for unit in by_class[label] if part[unit] != target and spare(label, unit)]
                # A unit of several classes is moved only if no class loses its last one.
                free = [unit for unit in outside if all(spare(other, unit) for other in classes_of(unit))]
                low, high = bounds[target], bounds[target + 1]
                nearest = min(free or outside, key=lambda unit: (max(low - hashes[unit], hashes[unit] - high), unit))
                part[nearest] = target
    return [part[unit] for unit in units]


def _units_by_class(units: Iterable[str], labels: Iterable[int]) -> dict[int, set[str]]:
    by_class: dict[int, set[str]] = defaultdict(set)
    for unit, label in zip(units, labels, strict=True):
        by_class[label].add(unit)
    return by_class


class TooFewUnitsError(ValueError):
    """A class has too few units to be in every part.

    Args:
        label: The class.
        num_units: Number of its units.
        needed: Number that it needs.
    """

    def __init__(self, label: int, num_units: int, needed: int) -> None:
        super().__init__(f"class {label} has {num_units} different images or groups, but {needed} are needed")
        self.label, self.num_units, self.needed = label, num_units, needed


def _hash(unit: str, salt: str) -> float:
    """A number in [0, 1) that follows from two texts."""
    digest = hashlib.blake2b(f"{salt}\n{unit}".encode(errors="surrogateescape"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


@dataclass(frozen=True)
class Drawing:
    """How the splits that are not given by hand are drawn.

    Args:
        test_fraction: Share of the test images; None if they are given.
        val_fraction: Share of the validation images among the others; None if they are given.
        split_seed: Seed of the validation images.
        num_folds: Number of folds, one of which are the validation images, in place of ``val_fraction``; None for no folds.
        fold: Number of that fold.
    """

    test_fraction: float | None
    val_fraction: float | None
    split_seed: int
    num_folds: int | None = None
    fold: int = 0

    def draw(self, splits: Sequence[Split | None], units: Sequence[str], labels: Sequence[int]) -> list[Split]:
        """The split of each image.

        A class with too few units for one in every split stays in the training split, where there are other classes.

        Args:
            splits: As given by hand; None for what is to be drawn.
            units: Unit of each image, see :func:`join_units`.
            labels: Class of each image.

        Raises:
            TooFewUnitsError: If no class has enough units for every split to hold one, or, with folds, not every class.
        """
        drawn: list[Split] = [split or "train" for split in splits]
        small = self._small_classes(drawn, units, labels)

        def take(target: Split, shares: list[float], salt: str, chosen: int, minimum: list[int]) -> None:
            rest = [position for position, split in enumerate(drawn) if split == "train"]
            parts = divide([units[i] for i in rest], [labels[i] for i in rest], shares, salt, minimum, small)
            for position, part in zip(rest, parts, strict=True):
                drawn[position] = target if part == chosen else "train"

        num_parts = self._num_parts
        if self.test_fraction is not None:
            shares = [self.test_fraction, 1 - self.test_fraction]
            # Not the number of folds: they must not take images back from the test set, which is that of all runs.
            take("test", shares, f"test {TEST_SPLIT_SEED}", 0, [1, min(num_parts, 2)])
        if self.val_fraction is not None:
            shares = [1 / num_parts] * num_parts if self.num_folds else [self.val_fraction, 1 - self.val_fraction]
            take("val", shares, f"val {self.split_seed}", self.fold, [1] * num_parts)
        return drawn

    @property
    def _num_parts(self) -> int:
        """Number of parts that the training and validation images are divided into."""
        return 1 if self.val_fraction is None else self.num_folds or 2

    def _small_classes(self, drawn: Sequence[Split], units: Sequence[str], labels: Sequence[int]) -> set[int]:
        """The classes that have too few units for one in every split."""
        needed = (self.test_fraction is not None) + self._num_parts
        training = [split == "train" for split in drawn]
        by_class = _units_by_class(compress(units, training), compress(labels, training))
        sizes = {label: len(members) for label, members in by_class.items()}
        small = {label for label, size in sizes.items() if size < needed}
        if small and (self.num_folds or len(small) == len(sizes)):
            label = min(small)
            raise TooFewUnitsError(label, sizes[label], needed)
        return small
