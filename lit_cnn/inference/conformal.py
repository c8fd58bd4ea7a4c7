"""Prediction sets: as many classes for an image as it takes to have the true one among them, at a chosen rate.

Of the ways to make them, this is the one with the smallest sets, LAC (least ambiguous classifier). A class is in the set if
its probability reaches a threshold that is the same for all images. Source: Sadinle, Lei and Wasserman 2019,
arXiv:1609.00451. APS (Romano et al. 2020, arXiv:2006.02544) spreads the misses more evenly over easy and hard images. But
its sets are larger, and they are exact only if chance has a part in them.

Deviates: the likeliest class is always in the set, so that no set is empty. This can only raise the rate.
"""

from __future__ import annotations

import math

import numpy as np


def conformal_threshold(of_label: np.ndarray, level: float) -> float:
    """The least probability of a class in a set: the ⌈(n + 1) · level⌉-th largest probability of a true class.

    If a new image is like these n images, its true class reaches it with a probability of at least ``level``.

    Source: Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World; Angelopoulos and Bates 2021,
    arXiv:2107.07511.

    Args:
        of_label: Probability of the true class of each image, (n,).
        level: The wanted rate, between 0 and 1.

    Returns:
        The threshold; 0, which all classes reach, if there are too few images for the level.
    """
    rank = math.ceil(round((len(of_label) + 1) * level, 9))
    return float(np.sort(of_label)[::-1][rank - 1]) if rank <= len(of_label) else 0.0


def conformal_sets(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """The classes in the set of each image.

    Args:
        probabilities: (N, num_classes).
        threshold: See :func:`conformal_threshold`.
    Shape:
        Output (N, num_classes) bool, at least one True in each row.
    """
    sets = probabilities >= threshold
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets
