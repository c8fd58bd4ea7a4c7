"""Which images are for training, validation and test."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lit_cnn.data.loader import Images

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

# How people name the splits, in folders and in tables, in lower case.
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "eval": "val",
    "evaluation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
}

# Share of the images that is drawn for a split, if no other is given.
FRACTION = 0.1

# The test set belongs to the dataset: the seed of a run does not change it.
TEST_SPLIT_SEED = 0


def split_of_name(name: str) -> Split | None:
    """The split that a folder or a cell of a table names, in upper or lower case; None if it names none."""
    return SPLIT_NAMES.get(name.lower())


def split_in_name(name: str) -> Split | None:
    """The split that a longer name seems to mean: ``train_set``, ``seg_train``, ``TestImages``; None if there is none."""
    words = re.findall(r"[a-z]+", name.lower())
    found = (split_of_name(re.sub(r"(set|data|images|imgs)$", "", word)) for word in words)
    return next((split for split in found if split), None)


@dataclass(frozen=True)
class ArrayImages:
    """Images in memory or on a GPU, as one uint8 tensor (N, C, H, W) with labels (N,)."""

    pixels: Tensor
    labels: Tensor
    names: Sequence[str] | None = None

    def fetch(self, positions: Tensor) -> Tensor:
        return self.pixels.index_select(0, positions.to(self.pixels.device, non_blocking=True))

    def name(self, position: int) -> str:
        return self.names[position] if self.names else f"#{position}"


class Subset:
    """Some images of a set, without a copy."""

    def __init__(self, images: Images, index: Tensor) -> None:
        self.images = images
        self.index = index
        self.labels = images.labels[index]

    def fetch(self, positions: Tensor) -> Tensor:
        return self.images.fetch(self.index[positions])

    def name(self, position: int) -> str:
        return self.images.name(int(self.index[position]))


def room_for_images(device: torch.device) -> int:
    """Bytes that the images of a split may take on a device: a quarter of a GPU's free memory, zero elsewhere."""
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else 0


def on_device(sets: Sequence[Images], device: torch.device, room: int) -> list[Images]:
    """Moves images in memory to a device if they fit. What several sets share is moved once.

    Args:
        sets: The images.
        device: Where they are moved.
        room: Bytes that the images of a set may take there.
    """
    moved: dict[int, Images] = {}

    def move(images: Images) -> Images:
        if isinstance(images, Subset):
            return Subset(move(images.images), images.index)
        if not isinstance(images, ArrayImages) or images.pixels.nbytes > room:
            return images
        if id(images) not in moved:
            moved[id(images)] = replace(images, pixels=images.pixels.to(device))
        return moved[id(images)]

    return [move(images) for images in sets]


def check_division(val_fraction: float, num_folds: int | None, fold: int | None) -> None:
    """Checks how the training images are divided, see :class:`lit_cnn.data.module.ImageDataModule`.

    Raises:
        ValueError: If the fraction or the fold is out of its range.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction must be above 0 and below 1, got {val_fraction}")
    if (num_folds is None) != (fold is None):
        raise ValueError(f"num_folds and fold belong together, got num_folds={num_folds} and fold={fold}")
    if num_folds is not None and fold is not None and fold >= num_folds:
        raise ValueError(f"fold must be at most {num_folds - 1}, because the {num_folds} folds count from 0; got {fold}")


def check_same_classes(name: str, class_names: Iterable[str], trained: Iterable[str]) -> None:
    """Raises a ValueError if a dataset has other classes than a training had."""
    own, trained = tuple(class_names), tuple(trained)
    if own != trained:
        raise ValueError(f"the checkpoint was trained on the classes {', '.join(trained)}, but {name} has {', '.join(own)}")


def check_same_division(arguments: Mapping[str, Any], trained: Mapping[str, Any], testing: bool) -> None:
    """Checks that images are divided as in a training.

    Args:
        arguments: The arguments that decide which images are in which split.
        trained: Those of the training.
        testing: Whether only test images are used.

    Raises:
        ValueError: If an argument differs, so that a network would be evaluated on images that it was trained on.
    """
    for name, value in arguments.items():
        # These divide training from validation images only: the test images are the same.
        irrelevant = testing and name in ("split_seed", "val_fraction", "num_folds", "fold")
        if value != trained.get(name) and not irrelevant:
            raise ValueError(
                f"the checkpoint was trained with data.{name}={trained.get(name)}; with {value}, "
                f"it would be evaluated on images that it was trained on: set data.{name}={trained.get(name)}"
            )


def stratified_split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Divides images at random into two parts, every class in the same ratio.

    A class of two or more images has one in each part at least. A single image is in the first.

    Args:
        labels: Class of each image.
        fraction: Share of the second part, above 0 and below 1.
        seed: Seed of the draw.

    Shape:
        Labels (N,); output two sorted index tensors, disjoint, together 0 … N-1.

    Raises:
        ValueError: If the fraction is out of range, or no class has two images.
    """
    from sklearn.model_selection import train_test_split

    if not 0 < fraction < 1:
        raise ValueError(f"the fraction of a split must be above 0 and below 1, got {fraction}")
    values = labels.cpu().numpy()
    sizes = np.bincount(values)
    if not len(values) or sizes.max() < 2:
        raise ValueError(f"no class has two images, one for each part of a split: add images; there are {len(values)}")
    several = np.flatnonzero(sizes[values] > 1)
    try:
        _, drawn = train_test_split(several, test_size=fraction, random_state=seed % 2**32, stratify=values[several])
    except ValueError:  # a part is smaller than the number of classes: each class is divided by itself
        by_class = [_draw_of_class(values, label, fraction, seed) for label in np.flatnonzero(sizes > 1).tolist()]
        drawn = np.concatenate(by_class)
    is_second = np.zeros(len(values), bool)
    is_second[drawn] = True
    shares = np.bincount(values, weights=is_second, minlength=len(sizes))
    for label in np.flatnonzero((sizes > 1) & ((shares == 0) | (shares == sizes))):
        # An image of a class that is in one part only goes to the other.
        own = np.flatnonzero(values == label)
        is_second[np.random.default_rng((seed % 2**32, int(label))).choice(own)] ^= True
    return torch.from_numpy(np.flatnonzero(~is_second)), torch.from_numpy(np.flatnonzero(is_second))


def _draw_of_class(values: np.ndarray, label: int, fraction: float, seed: int) -> np.ndarray:
    """Positions of a share of the images of a class: one at least, and not all."""
    own = np.flatnonzero(values == label)
    number = min(max(round(fraction * len(own)), 1), len(own) - 1)
    return np.random.default_rng((seed % 2**32, int(label))).choice(own, number, replace=False)


def stratified_fold(labels: Tensor, num_folds: int, fold: int, seed: int) -> tuple[Tensor, Tensor]:
    """Divides images at random into folds, every class in the same ratio; returns the images outside and inside of a fold.

    Args:
        labels: Class of each image.
        num_folds: Number of folds.
        fold: Number of the fold, from 0.
        seed: Seed of the draw.

    Shape:
        Labels (N,); output two sorted index tensors, disjoint, together 0 … N-1.

    Raises:
        ValueError: If a class has fewer images than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    fewest = int(torch.bincount(labels).min())
    if fewest < num_folds:
        raise ValueError(f"a class has {fewest} images, too few for {num_folds} folds: lower data.num_folds")
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=seed % 2**32)
    divisions = folds.split(np.zeros(len(labels)), labels.numpy())
    outside, inside = list(divisions)[fold]
    return torch.from_numpy(outside), torch.from_numpy(inside)


def digest_of_images(images: Images, class_names: Iterable[str]) -> str:
    """A digest of images and labels in their order.

    Args:
        images: :class:`ArrayImages` or a :class:`Subset` of them. Of other images, names and labels count, not the pixels.
        class_names: Name of each label.
    """
    whole = hashlib.blake2b("\n".join(class_names).encode(errors="surrogateescape"), digest_size=16)
    whole.update(images.labels.to("cpu", torch.int64).numpy().tobytes())
    source, index = (images.images, images.index) if isinstance(images, Subset) else (images, None)
    if isinstance(source, ArrayImages):
        whole.update(repr(tuple(source.pixels.shape[1:])).encode())
        positions = torch.arange(len(source.labels)) if index is None else index
        for start in range(0, len(positions), 4096):
            whole.update(source.fetch(positions[start : start + 4096]).cpu().numpy().tobytes())
    else:
        for position in range(len(images.labels)):
            whole.update(f"{images.name(position)}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()
