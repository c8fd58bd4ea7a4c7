"""Precision, recall and F1 of each class, with intervals, from a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lit_cnn.analysis.statistics import Interval
from lit_cnn.training.class_scores import wilson


@dataclass(frozen=True)
class ClassRow:
    """Scores of a class; None for a share of no images.

    Args:
        name: Its name.
        images: Number of its images.
        precision: Share of the images taken for it that are of it.
        recall: Share of its images that were recognised.
        f1: Harmonic mean of both.
    """

    name: str
    images: int
    precision: Interval | None
    recall: Interval | None
    f1: Interval | None


def confusion_of(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Number of images by true class (row) and predicted class (column), (num_classes, num_classes) int64."""
    flat = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)


def share_of(hits: int, images: int) -> Interval | None:
    """A share with Wilson's interval; None without images."""
    if not images:
        return None
    low, high = wilson(np.array(hits), np.array(images))
    return Interval(hits / images, float(low), float(high))


def rows_of_classes(confusion: np.ndarray, names: Sequence[str]) -> list[ClassRow]:
    """Scores of each class, in order.

    The intervals are Wilson's. F1 = 2J / (1 + J) grows with the share J of the class's own images that were recognised
    among those that are of the class or taken for it, so that the interval of J gives that of F1.

    Source: Lam, Gopal and Qian 2023, "Confidence intervals for the F1 score", arXiv:2309.14621 (Wilson indirect).

    Args:
        confusion: Number of images, (num_classes, num_classes): rows are true classes, columns predicted ones.
        names: Name of each class.
    """
    hits, images, taken = confusion.diagonal().tolist(), confusion.sum(axis=1).tolist(), confusion.sum(axis=0).tolist()
    return [_row(*values) for values in zip(names, hits, images, taken, strict=True)]


def _row(name: str, hits: int, images: int, taken: int) -> ClassRow:
    joint = share_of(hits, images + taken - hits)
    f1 = joint and Interval(*(2 * one / (1 + one) for one in (joint.value, joint.low, joint.high)))
    return ClassRow(name, images, share_of(hits, taken), share_of(hits, images), f1)


def confusions(confusion: np.ndarray, number: int) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: true class, predicted class, number of images; the most frequent first."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:number]
    places = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return [(int(row), int(column), int(wrong[row, column])) for row, column in places if wrong[row, column]]
