"""Temperature scaling: one number that makes a network as sure as it is right, without changing an answer.

Source: Guo et al. 2017, arXiv:1706.04599, "On calibration of modern neural networks".
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

# No temperature outside of these is fitted.
LOWEST, HIGHEST = 0.01, 100.0
NUM_FOLDS = 5
# Images at a time: the logits of 50,000 images in 1,000 classes need no second copy.
CHUNK = 4096


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities p_c = exp(z_c / T) / Σ_k exp(z_k / T).

    Args:
        logits: z.
        temperature: T, positive. Above 1 it makes a network less sure.
    Shape:
        Input (N, num_classes); output the same, float64; each row sums to 1.
    """
    exponentials = np.exp((logits.astype(np.float64) - logits.max(axis=1, keepdims=True)) / temperature)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative logarithm of the probability of the true class, in nats.

    Args:
        probabilities: (N, num_classes).
        labels: True class of each image, (N,).
    """
    of_label = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(of_label, np.finfo(np.float64).tiny)).mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the lowest log loss on some images.

    The loss is convex in β = 1 / T. Its derivative, the mean of Σ_c p_c z_c − z_label, is 0 at the minimum.
    If all images are recognised, the loss falls for ever as T falls: then T = 1.

    Args:
        logits: z, (N, num_classes).
        labels: True class of each image, (N,).

    Returns:
        The temperature, from :data:`LOWEST` to :data:`HIGHEST`.
    """
    from scipy.optimize import brentq

    if (logits.argmax(axis=1) == labels).all():
        return 1.0

    def derivative(log_beta: float) -> float:
        total, beta = 0.0, math.exp(log_beta)
        for start in range(0, len(labels), CHUNK):
            part, own = logits[start : start + CHUNK].astype(np.float64), labels[start : start + CHUNK]
            part -= part.max(axis=1, keepdims=True)
            weights = np.exp(beta * part)
            expected = (weights * part).sum(axis=1) / weights.sum(axis=1)
            total += float((expected - part[np.arange(len(own)), own]).sum())
        return total

    low, high = -math.log(HIGHEST), -math.log(LOWEST)
    if derivative(low) >= 0:
        return HIGHEST
    if derivative(high) <= 0:
        return LOWEST
    return math.exp(-brentq(derivative, low, high, xtol=1e-7))


def cross_fit(logits: np.ndarray, labels: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """Each of :data:`NUM_FOLDS` equal parts of the images, with the temperature that the images of the others give.

    No image has a part in its own temperature, so that what is measured of it is not flattered. The parts are drawn at
    random, and are the same each time.

    Yields:
        Whether each image is in the part, (N,) bool, and the temperature.
    """
    folds = np.random.default_rng(0).permutation(len(labels)) % NUM_FOLDS
    for fold in range(NUM_FOLDS):
        own = folds == fold
        yield own, fit_temperature(logits[~own], labels[~own])


def cross_fitted(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probabilities of each image with the temperature of :func:`cross_fit`.

    Shape:
        Logits (N, num_classes), labels (N,); output (N, num_classes), float64.
    """
    probabilities = np.empty(logits.shape, dtype=np.float64)
    for own, temperature in cross_fit(logits, labels):
        probabilities[own] = softmax(logits[own], temperature)
    return probabilities
