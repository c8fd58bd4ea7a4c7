"""Whether the probabilities of a network are true: of the answers given with 80 %, four of five should be right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lit_cnn.inference.interval import Interval
from lit_cnn.training.class_scores import wilson

NUM_BINS = 15
# Samples of a bootstrap.
NUM_SAMPLES = 500


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and accuracy of the answers, in bins of equal width by their confidence; NaN in a bin without images.

    Args:
        counts: Images in each bin, (num_bins,).
        confidences: Mean probability of the predicted class.
        accuracies: Share of right answers.
        low: Lower end of Wilson's 95 % interval of the accuracy.
        high: Its upper end.
    """

    counts: np.ndarray
    confidences: np.ndarray
    accuracies: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance of confidence and accuracy over the images; NaN without images.

        Source: Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning".
        """
        return self._mean(np.abs(self.accuracies - self.confidences))

    @property
    def mean_confidence(self) -> float:
        """Mean probability of the predicted class over the images."""
        return self._mean(self.confidences)

    def _mean(self, of_bins: np.ndarray) -> float:
        there = self.counts > 0
        return float(np.average(of_bins[there], weights=self.counts[there])) if there.any() else float("nan")


def reliability(probabilities: np.ndarray, labels: np.ndarray, num_bins: int = NUM_BINS) -> Reliability:
    """Confidence and accuracy of the answers of a network, in bins.

    Args:
        probabilities: (N, num_classes).
        labels: Class of each image, (N,).
        num_bins: Number of bins between 0 and 1.
    """
    confidences = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins = _bins_of(confidences, num_bins)
    counts = np.bincount(bins, minlength=num_bins)
    hits = np.bincount(bins, weights=correct, minlength=num_bins).astype(np.int64)
    with np.errstate(invalid="ignore"):
        means = np.bincount(bins, weights=confidences, minlength=num_bins) / counts
        accuracies = hits / counts
    return Reliability(counts, means, accuracies, *wilson(hits, counts))


def _bins_of(confidences: np.ndarray, num_bins: int) -> np.ndarray:
    return np.clip(np.digitize(confidences, np.linspace(0, 1, num_bins + 1)) - 1, 0, num_bins - 1)


def error_interval(probabilities: np.ndarray, labels: np.ndarray, num_bins: int = NUM_BINS) -> Interval:
    """The expected calibration error with an approximate 95 % interval.

    With few images the error of each bin is partly chance, and the sum of their sizes is too large. Resampling adds the same
    chance once more, which shows how much it is. So the interval is the basic one of the bootstrap, 2 e − q for the
    quantiles q of the resampled errors. It is widened to contain the error e itself. It begins at 0 if a network whose
    probabilities are true has such an error by chance in more than 5 % of samples. It covers less than it is named:
    in simulations with 180 to 6,000 images, it contained the true error in 85 to 99 % of samples.

    Source: Davison and Hinkley 1997, Bootstrap Methods and their Application, section 5.2; for calibration errors, Kumar,
    Liang and Ma 2019, arXiv:1909.10155; the chance of a true network, Bröcker and Smith 2007, Weather and Forecasting 22.

    Args:
        probabilities: (N, num_classes), N at least 1.
        labels: Class of each image, (N,).
        num_bins: Number of bins between 0 and 1.
    """
    confidences = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins, number = _bins_of(confidences, num_bins), len(labels)

    def error(bins: np.ndarray, gaps: np.ndarray) -> float:
        return float(np.abs(np.bincount(bins, weights=gaps, minlength=num_bins)).sum() / number)

    random = np.random.default_rng(0)
    gaps = correct - confidences
    found = error(bins, gaps)
    samples = (random.integers(0, number, number) for _ in range(NUM_SAMPLES))
    low, high = np.quantile([error(bins[images], gaps[images]) for images in samples], (0.025, 0.975))
    of_chance = [error(bins, (random.random(number) < confidences) - confidences) for _ in range(NUM_SAMPLES)]
    if found <= np.quantile(of_chance, 0.95):
        high = 2 * found
    return Interval(found, float(np.clip(2 * found - high, 0, found)), float(np.clip(2 * found - low, found, 1)))
