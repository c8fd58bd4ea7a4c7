"""Temperature scaling against known temperatures and against scipy's minimiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from lit_cnn.inference.temperature import HIGHEST, cross_fit, cross_fitted, fit_temperature, log_loss, softmax


def draw(number: int, temperature: float, num_classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a network whose best temperature is known, and labels that are drawn from its true probabilities."""
    random = np.random.default_rng(seed)
    true = 2 * random.normal(size=(number, num_classes))
    labels = np.array([random.choice(num_classes, p=p) for p in softmax(true)])
    return (temperature * true).astype(np.float32), labels


def test_probabilities_are_those_of_torch():
    logits = np.array([[1e4, 0, -1e4], [1, 2, 3]], dtype=np.float32)
    assert softmax(logits, 2.0) == pytest.approx(torch.from_numpy(logits / 2).double().softmax(dim=1).numpy())


def test_the_loss_is_that_of_torch():
    logits, labels = draw(50, 1.0)
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels))
    assert log_loss(softmax(logits), labels) == pytest.approx(float(expected))
    assert np.isfinite(log_loss(np.array([[0.0, 1.0]]), np.array([0])))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature: float):
    assert fit_temperature(*draw(4000, temperature)) == pytest.approx(temperature, rel=0.08)


def test_it_is_the_minimum_of_the_loss():
    logits, labels = draw(300, 2.5, seed=1)
    loss = minimize_scalar(lambda t: log_loss(softmax(logits, t), labels), bounds=(0.1, 10), method="bounded")
    assert fit_temperature(logits, labels) == pytest.approx(loss.x, rel=1e-3)


def test_without_a_mistake_nothing_is_fitted():
    assert fit_temperature(np.eye(4, dtype=np.float32), np.arange(4)) == 1.0


def test_a_network_that_is_worse_than_chance_answers_nothing():
    assert fit_temperature(np.eye(4, dtype=np.float32), (np.arange(4) + 1) % 4) == HIGHEST


def test_no_image_has_a_part_in_its_own_temperature():
    logits, labels = draw(100, 2.0)
    parts = list(cross_fit(logits, labels))
    assert np.sum([own for own, _ in parts], axis=0).tolist() == [1] * 100
    own, temperature = parts[0]
    changed = np.where(own, (labels + 1) % 4, labels)
    assert next(iter(cross_fit(logits, changed)))[1] == temperature
    assert cross_fitted(logits, changed)[own] == pytest.approx(softmax(logits[own], temperature))
