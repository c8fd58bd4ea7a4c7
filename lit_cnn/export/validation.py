"""Accuracy of an exported network on images of a run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lit_cnn.data.loader import Images

BATCH = 64

# From pixels as the run reads files, uint8 (N, C, H, W), to probabilities (N, num_classes).
Answer = Callable[[Tensor], np.ndarray]


def spread(images: Images, number: int) -> Tensor:
    """Positions of so many images at even distances, or of all."""
    size = len(images.labels)
    return torch.linspace(0, size - 1, min(size, number)).round().long()


def classes_of(answer: Answer, images: Images, positions: Tensor) -> np.ndarray:
    """The likeliest class of each image, (N,) int64."""
    return np.concatenate([answer(images.fetch(part).cpu()).argmax(axis=1) for part in positions.split(BATCH)])


def accuracy_of(classes: np.ndarray, images: Images, positions: Tensor) -> float:
    """Share of the images whose class is their label."""
    return float((classes == images.labels[positions].cpu().numpy()).mean())
