from __future__ import annotations

import numpy as np
import pytest

from lit_cnn.inference.conformal import conformal_sets, conformal_threshold


def test_the_rank_is_that_of_a_finite_sample():
    of_label = np.linspace(0.01, 0.99, 99)
    assert conformal_threshold(of_label, 0.90) == pytest.approx(0.10)  # the 90th largest of 99
    assert conformal_threshold(of_label, 0.95) == pytest.approx(0.05)
    assert conformal_threshold(of_label[:19], 0.95) == of_label[0]  # the 19th of 19
    assert conformal_threshold(of_label[:18], 0.95) == 0.0  # all classes


def test_sets_by_hand():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.34, 0.33, 0.33]])
    assert conformal_sets(probabilities, 0.3).tolist() == [[True, True, False], [False, False, True], [True, True, True]]
    assert conformal_sets(probabilities, 0.9).sum(axis=1).tolist() == [1, 1, 1]  # no set is empty
    assert conformal_sets(probabilities, 0.0).all()


def test_the_true_class_is_in_the_set_at_the_rate():
    random = np.random.default_rng(0)
    rates = []
    for _ in range(200):
        probabilities = random.dirichlet(np.full(5, 0.5), 250)
        labels = (random.random((250, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=4)
        threshold = conformal_threshold(probabilities[np.arange(50), labels[:50]], 0.9)
        rates.append(conformal_sets(probabilities[50:], threshold)[np.arange(200), labels[50:]].mean())
    assert 0.895 <= np.mean(rates) <= 0.94
