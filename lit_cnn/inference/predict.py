"""Classifies images with a trained network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lit_cnn.data.loader import Loader
from lit_cnn.inference.inputs import GivenImages
from lit_cnn.network.base import evaluating


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The classes of an image, with their probabilities.

    Args:
        class_names: Name of each output of the network.
        values: Probability of each, a float32 array (num_classes,) that cannot be written to.
        file: The image, if it was given as a file.
    """

    class_names: tuple[str, ...]
    values: np.ndarray
    file: Path | None = None

    @property
    def class_name(self) -> str:
        """The most probable class."""
        return self.class_names[int(self.values.argmax())]

    @property
    def probability(self) -> float:
        """Probability of the most probable class."""
        return float(self.values.max())

    @property
    def probabilities(self) -> dict[str, float]:
        """Probability of each class by its name. If two classes share a name, as in ImageNet, it is their sum."""
        by_name = dict.fromkeys(self.class_names, 0.0)
        for name, value in zip(self.class_names, self.values.tolist(), strict=True):
            by_name[name] += value
        return by_name

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The ``k`` most probable classes with their probabilities, or all if there are fewer.

        Raises:
            ValueError: If k is below 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        order = np.argsort(-self.values, kind="stable")[:k]
        return [(self.class_names[i], float(self.values[i])) for i in order]

    def __repr__(self) -> str:
        file = "" if self.file is None else f", file={str(self.file)!r}"
        return f"Prediction(class_name={self.class_name!r}, probability={self.probability:.4f}{file})"


def predict(
    classifier: nn.Module,
    preprocess: Callable[[Tensor], Tensor],
    class_names: tuple[str, ...],
    images: GivenImages,
    batch_size: int = 64,
) -> Iterator[Prediction]:
    """Classifies images one batch after another, in their order, without those that ``images`` enters as bad.

    Args:
        classifier: From the network's images to logits (N, num_classes).
        preprocess: From uint8 images to the network's.
        class_names: Name of each output.
        images: Of the size and the channels that ``preprocess`` takes.
        batch_size: Images at a time.

    Raises:
        ValueError: If the batch size is below 1, or a file cannot be decoded; names the file.
    """
    for batch in Loader(images, batch_size, shuffle=False, num_workers=os.cpu_count() or 1):
        with torch.inference_mode(), evaluating(classifier):
            probabilities = classifier(preprocess(batch.images)).float().softmax(dim=1).numpy(force=True)
        probabilities.setflags(write=False)
        for position, values in zip(batch.positions.tolist(), probabilities, strict=True):
            if position in images.bad:
                continue
            yield Prediction(class_names, values, images.file(position))
