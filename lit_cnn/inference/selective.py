"""Answering only when sure: which share of the images is answered, and how many of those answers are wrong.

Source: Geifman and El-Yaniv 2017, arXiv:1705.08500, "Selective classification for deep neural networks".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lit_cnn.inference.interval import exact_lower_bound

# Share of studies that may promise too much.
ALPHA = 0.05
# So many thresholds are tried.
NUM_CANDIDATES = 20


def risks(confidences: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """The risk–coverage curve: the share of wrong answers among the 1, 2, …, N surest images.

    Equally sure images share their mistakes, so that their order does not matter.

    Shape:
        Both inputs (N,); output (N,), for coverages 1/N, 2/N, …, 1.
    """
    values, group, sizes = np.unique(-confidences, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, weights=~correct, minlength=len(values)) / sizes
    return np.cumsum(np.repeat(wrong, sizes)) / np.arange(1, len(correct) + 1)


def area(curve: np.ndarray) -> float:
    """Area under a risk–coverage curve (AURC): the mean risk over all coverages; 0 is best.

    Source: Geifman, Uziel and El-Yaniv 2019, arXiv:1805.08206.
    """
    return float(curve.mean())


@dataclass(frozen=True)
class Threshold:
    """A confidence above which the answers are right often enough.

    Args:
        confidence: Images of a higher confidence are accepted.
        num_accepted: Accepted images, of those that it was found with.
        num_right: Of these, the recognised ones.
        low: Lower end of the one-sided exact interval of their accuracy, corrected for the number of thresholds tried.
    """

    confidence: float
    num_accepted: int
    num_right: int
    low: float


def least_images(accuracy: float) -> int:
    """So many accepted images show an accuracy if all of them are recognised; see :func:`find_threshold`."""
    return math.ceil(math.log(ALPHA / NUM_CANDIDATES) / math.log(accuracy))


def find_threshold(confidences: np.ndarray, correct: np.ndarray, accuracy: float) -> Threshold | None:
    """The smallest confidence above which the accuracy is shown to be high enough.

    :data:`NUM_CANDIDATES` thresholds are tried. They are confidences of images at equal steps in their order, so that
    labels have no part in them. The images above one are a sample of all images above it, and the exact interval
    (Clopper and Pearson 1934) of their accuracy holds. Each may fail in a share of :data:`ALPHA` / :data:`NUM_CANDIDATES`
    (Bonferroni), so that in 95 % of studies none promises too much.

    Args:
        confidences: Probability of the predicted class of each image, (N,).
        correct: Whether each was recognised, (N,) bool.
        accuracy: The wanted accuracy of the accepted images, below 1.

    Returns:
        The threshold; None if no candidate has shown the accuracy.
    """
    return next((found for found in candidates(confidences, correct, accuracy) if found.low >= accuracy), None)


def candidates(confidences: np.ndarray, correct: np.ndarray, accuracy: float) -> Iterator[Threshold]:
    """The thresholds that :func:`find_threshold` tries, from the smallest; none for too few images."""
    least = least_images(accuracy)
    descending = np.sort(confidences)[::-1]
    for rank in np.linspace(len(confidences), least, NUM_CANDIDATES).round().astype(int) if len(correct) >= least else ():
        confidence = float(descending[rank]) if rank < len(confidences) else 0.0
        accepted = confidences > confidence
        num_accepted, num_right = int(accepted.sum()), int(correct[accepted].sum())
        low = exact_lower_bound(num_right, num_accepted, ALPHA / NUM_CANDIDATES)
        yield Threshold(confidence, num_accepted, num_right, low)
