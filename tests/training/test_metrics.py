"""Metrics of an evaluation, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lit_cnn.inference.calibration import reliability
from lit_cnn.training.metrics import CalibrationError, EvaluationMetrics


def error_of(logits: torch.Tensor, labels: torch.Tensor) -> float:
    metric = CalibrationError(15)
    for part in torch.arange(len(labels)).split(7):
        metric.update(logits[part], labels[part])
    return float(metric.compute())


def test_logits_between_0_and_1_are_no_probabilities():
    """A network that knows nothing, with an accuracy of a tenth, is as sure as it should be."""
    assert error_of(torch.zeros(100, 10), torch.arange(100) % 10) == pytest.approx(0, abs=1e-6)


def test_the_calibration_error_is_that_of_the_reliability_diagram():
    generator = torch.Generator().manual_seed(0)
    logits = 30 * torch.randn(500, 4, generator=generator)  # many are as sure as numbers can be
    labels = torch.where(torch.rand(500, generator=generator) < 0.8, logits.argmax(1), 0)
    bins = reliability(logits.double().softmax(1).numpy(), labels.numpy())
    gaps = np.nan_to_num(np.abs(bins.accuracies - bins.confidences)) * bins.counts
    assert error_of(logits, labels) == pytest.approx(gaps.sum() / 500, abs=1e-5)


def test_it_is_what_an_evaluation_reports():
    logits, labels = torch.randn(50, 10, generator=torch.Generator().manual_seed(1)), torch.arange(50) % 10
    metrics = EvaluationMetrics("val", 10)
    metrics.update(logits, labels)
    assert float(metrics.compute()["val/ece"]) == pytest.approx(error_of(logits, labels), abs=1e-6)
