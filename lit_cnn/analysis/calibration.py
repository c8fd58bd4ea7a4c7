"""Whether the probabilities of a network are true: of the answers given with 80 %, four of five should be right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lit_cnn.training.class_scores import wilson


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


def reliability(probabilities: np.ndarray, labels: np.ndarray, num_bins: int = 15) -> Reliability:
    """Confidence and accuracy of the answers of a network, in bins.

    Args:
        probabilities: (N, num_classes).
        labels: Class of each image, (N,).
        num_bins: Number of bins between 0 and 1.
    """
    confidences = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, num_bins + 1)
    bins = np.clip(np.digitize(confidences, edges) - 1, 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    hits = np.bincount(bins, weights=correct, minlength=num_bins).astype(np.int64)
    with np.errstate(invalid="ignore"):
        means = np.bincount(bins, weights=confidences, minlength=num_bins) / counts
        accuracies = hits / counts
    return Reliability(counts, means, accuracies, *wilson(hits, counts))
