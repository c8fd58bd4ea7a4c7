"""Which images are for training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lit_cnn.data.loader import Images

Split = Literal["train", "val", "test"]

# The test set belongs to the dataset: the seed of a run does not change it.
TEST_SPLIT_SEED = 0


@dataclass(frozen=True)
class ArrayImages:
    """Images in memory or on a GPU, as one uint8 tensor (N, C, H, W) with labels (N,)."""

    pixels: Tensor
    labels: Tensor
    names: tuple[str, ...] | None = None

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


def stratified_split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Divides images at random into two parts, every class in the same ratio.

    Args:
        labels: Class of each image.
        fraction: Share of the second part, above 0 and below 1.
        seed: Seed of the draw.

    Shape:
        Labels (N,); output two sorted index tensors, disjoint, together 0 … N-1.

    Raises:
        ValueError: If the fraction is out of range, or a class has too few images.
    """
    from sklearn.model_selection import train_test_split

    if not 0 < fraction < 1:
        raise ValueError(f"the fraction of a split must be above 0 and below 1, got {fraction}")
    try:
        first, second = train_test_split(
            np.arange(len(labels)), test_size=fraction, random_state=seed % 2**32, stratify=labels.numpy()
        )
    except ValueError as error:
        raise ValueError(
            f"{len(labels)} images cannot be divided into parts of {1 - fraction:g} and {fraction:g} "
            f"that hold every class ({error}): add images or change the fraction"
        ) from error
    return torch.from_numpy(np.sort(first)), torch.from_numpy(np.sort(second))
