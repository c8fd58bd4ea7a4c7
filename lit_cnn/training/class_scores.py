"""Results of an evaluation for each image and each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_cnn.data.module import ImageDataModule
from lit_cnn.system.text import printable, shorten

# Classes whose numbers of images differ by this factor are unequal: then the accuracy alone says too little.
UNEQUAL = 3
# The recalls of so few classes are always shown; of more, the lowest of so many.
NUM_RECALLS = 5
# A lowest recall that is so far below the mean is shown for equal classes too.
GAP = 0.1


def names_of_classes(data: Any, num_classes: int) -> list[str]:
    """Names of the classes of a data module; numbers if it has no name for each."""
    names = [str(name) for name in getattr(data, "class_names", None) or ()]
    return names if len(names) == num_classes else [str(number) for number in range(num_classes)]


class Predictions:
    """Position, class and logits of each image.

    Without positions, images are numbered in the order in which the process sees them.
    """

    def __init__(self) -> None:
        self._images: list[Tensor] = []
        self._logits: list[Tensor] = []
        self._num_images = 0

    def add(self, logits: Tensor, labels: Tensor, positions: Tensor | None = None) -> None:
        """Adds images: logits (N, num_classes), labels (N,), positions (N,). They are kept on the CPU."""
        if positions is None:
            positions = torch.arange(self._num_images, self._num_images + len(labels))
        self._num_images += len(labels)
        self._images.append(torch.stack([positions.cpu(), labels.cpu()], dim=1))
        self._logits.append(logits.cpu())

    def gathered(self) -> Predictions:
        """The predictions of all processes in the order of their positions. All processes must call it."""
        parts = [(self._labelled, self.logits)]
        if torch.distributed.is_initialized():
            parts *= torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, parts[0])
        images = np.concatenate([own for own, _ in parts])
        logits = np.concatenate([own for _, own in parts if len(own)] or [parts[0][1]])
        order = np.argsort(images[:, 0], kind="stable")
        result = Predictions()
        result._images, result._logits = [torch.from_numpy(images[order])], [torch.from_numpy(logits[order])]
        result._num_images = len(images)
        return result

    def __len__(self) -> int:
        return self._num_images

    @property
    def _labelled(self) -> np.ndarray:
        """Position and label of each image, (N, 2) int64."""
        return torch.cat(self._images).numpy() if self._num_images else np.zeros((0, 2), np.int64)

    @property
    def positions(self) -> np.ndarray:
        """(N,) int64."""
        return self._labelled[:, 0]

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64."""
        return self._labelled[:, 1]

    @property
    def logits(self) -> np.ndarray:
        """(N, num_classes) float32; joined from the batches at each call."""
        return torch.cat(self._logits).numpy() if self._num_images else np.zeros((0, 0), np.float32)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Position, label and prediction of each image, (N, 3); probability of the prediction and the label, (N, 2)."""
        images, logits = torch.from_numpy(self._labelled), torch.from_numpy(self.logits)
        if not len(images):
            return np.zeros((0, 3), np.int64), np.zeros((0, 2), np.float32)
        predicted = logits.argmax(dim=1)
        both = logits.softmax(dim=1).gather(1, torch.stack([predicted, images[:, 1]], dim=1))
        return torch.cat([images, predicted[:, None]], dim=1).numpy(), both.numpy()


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Numbers of images by class.

    Args:
        names: Name of each class.
        counts: Images of each class that were recognised, that were taken for it, and that are there: (3, num_classes).
        num_training: Training images of each class; empty if not known.
    """

    names: Sequence[str]
    counts: np.ndarray
    num_training: Sequence[int] = ()

    @classmethod
    def of(cls, counts: Tensor | Sequence[Sequence[int]], data: Any) -> ClassScores:
        """The scores of the images of a data module; None for images without one."""
        array = np.asarray(counts.tolist() if isinstance(counts, Tensor) else counts, dtype=np.int64)
        known = data.counts() if isinstance(data, ImageDataModule) else {}
        return cls(names_of_classes(data, array.shape[1]), array, known.get("train", ()))

    @property
    def are_unequal(self) -> bool:
        """Whether the largest class has :data:`UNEQUAL` times the images of the smallest, in training or here."""
        images = self.counts[2]
        return any(len(of) > 1 and max(of) > 0 and max(of) >= UNEQUAL * min(of) for of in (images, self.num_training))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have images; 0 if none has."""
        hits, _, images = self.counts
        there = images > 0
        return float((hits[there] / images[there]).mean()) if there.any() else 0.0

    def describe(self, split: str, num_recalls: int = NUM_RECALLS) -> list[tuple[str, str]]:
        """Rows of a table: balanced accuracy of unequal classes, and the lowest recalls of few, unequal or unlike classes.

        Args:
            split: First word of the rows.
            num_recalls: So many recalls are listed at most.
        """
        hits, _, images = self.counts
        there = np.flatnonzero(images)
        if not len(there):
            return []
        recalls = hits[there] / images[there]
        rows = []
        if self.are_unequal:
            of = (
                f"{len(there)} classes"
                if len(there) == len(images)
                else f"the {len(there)} of {len(images)} classes with images"
            )
            rows.append((f"{split} balanced accuracy", f"{self.balanced_accuracy:.2%} (mean recall of {of})"))
        elif len(there) == 1 or (len(there) > NUM_RECALLS and recalls.mean() - recalls.min() < GAP):
            return []
        lowest = np.argsort(recalls, kind="stable")[:num_recalls]
        width = 40 if len(lowest) == 1 else 20
        parts = [
            f"{recalls[one]:.2%} ({shorten(printable(self.names[number]), width)}, {hits[number]:,} of {images[number]:,})"
            for one, number in zip(lowest, there[lowest], strict=True)
        ]
        title = "recalls" if len(lowest) == len(there) else "lowest recall" if len(lowest) == 1 else "lowest recalls"
        return [*rows, (f"{split} {title}", ", ".join(parts))]


def wilson(hits: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % intervals of shares, with scipy: their lower and upper ends; NaN where there is no image."""
    from scipy.stats import binomtest  # takes a second

    def interval(hit: int, number: int) -> tuple[float, float]:
        return tuple(binomtest(hit, number).proportion_ci(method="wilson")) if number else (math.nan, math.nan)

    shape = np.shape(images)
    pairs = zip(np.ravel(hits).tolist(), np.ravel(images).tolist(), strict=True)
    ends = np.array([interval(hit, number) for hit, number in pairs]).reshape(*shape, 2)
    return ends[..., 0], ends[..., 1]
