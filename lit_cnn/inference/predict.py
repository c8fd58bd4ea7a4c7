"""Classifies images with a trained network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lit_cnn.inference.batches import BadImage, Readable, ReadBatch, compute_batches
from lit_cnn.inference.inputs import file_of
from lit_cnn.network.base import evaluating
from lit_cnn.network.tta import Tta, mean_log_probabilities

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The classes of an image, with their probabilities.

    Args:
        class_names: Name of each output of the network.
        values: Probability of each, a float32 array (num_classes,) that cannot be written to.
        logits: Outputs of the network, likewise. ``values`` are their softmax, of a calibrated prediction at the temperature
            of the run. After test-time augmentation, logarithms of ``values``.
        file: The image, if it was given as a file.
        likely: Of a calibrated prediction, the classes of its prediction set at 90 %, the likeliest first; else None.
    """

    class_names: tuple[str, ...]
    values: np.ndarray
    logits: np.ndarray
    file: Path | None = None
    likely: tuple[str, ...] | None = None

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
    images: Readable[Item],
    batch_size: int = 64,
    tta: Tta | None = None,
    num_workers: int | None = None,
    pixel: int = 1,
) -> Iterator[list[tuple[Item, Prediction | BadImage]]]:
    """Classifies images one batch after another, in their order.

    Args:
        classifier: From the network's images to logits (N, num_classes).
        preprocess: From uint8 images to the network's.
        class_names: Name of each output.
        images: Of the size and the channels that ``preprocess`` takes.
        batch_size: Images at a time.
        tta: Test-time augmentation: whether probabilities are means over views, see :mod:`lit_cnn.network.tta`.
        num_workers: Threads that read images; as many as there are processors if not given.
        pixel: How far a shift of the test-time augmentation moves, see :func:`lit_cnn.network.tta.pixel_of`.

    Returns:
        What names each image of a batch, with its prediction.

    Raises:
        ValueError: If the batch size is below 1, or a file cannot be decoded and is not to be skipped; names the file.
    """

    def compute(batch: ReadBatch[Item]) -> Iterator[Prediction]:
        with torch.inference_mode(), evaluating(classifier):
            logits = logits_of(classifier, preprocess(batch.pixels), tta, pixel)
            values = logits.softmax(dim=1).numpy(force=True)
        arrays = logits.numpy(force=True)
        for array in (arrays, values):
            array.setflags(write=False)
        files = [file_of(item) for place, item in enumerate(batch.items) if place not in batch.bad]
        return map(Prediction, [class_names] * len(files), values, arrays, files)

    return compute_batches(images, batch_size, compute, num_workers)


def logits_of(classifier: nn.Module, images: Tensor, tta: Tta | None = None, pixel: int = 1) -> Tensor:
    """Logits in float32, on the processor and in the mode in which the classifier is.

    Args:
        classifier: From images to logits (N, num_classes).
        images: Preprocessed.
        tta: Whether to return logarithms of mean probabilities, see :func:`predict`.
        pixel: Likewise.
    """
    if tta:
        return mean_log_probabilities(classifier, images, tta, pixel)
    logits: Tensor = classifier(images).float()
    return logits
