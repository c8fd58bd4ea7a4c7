from __future__ import annotations

import numpy as np
import pytest

from lit_cnn.inference.interval import exact_lower_bound
from lit_cnn.inference.selective import area, find_threshold, least_images, risks


def test_a_curve_by_hand():
    curve = risks(np.array([0.6, 0.9, 0.8, 0.7]), np.array([True, True, False, True]))
    assert curve == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])
    assert area(curve) == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_the_order_of_equally_sure_images_does_not_matter():
    confidences, correct = np.full(4, 0.5), np.array([True, False, True, False])
    assert risks(confidences, correct) == pytest.approx(risks(confidences, ~correct))
    assert area(risks(confidences, correct)) == pytest.approx(0.5)


def test_all_images_are_accepted_if_all_are_right():
    found = find_threshold(np.linspace(0.5, 1, 1000), np.ones(1000, dtype=bool), 0.99)
    assert found is not None
    assert (found.confidence, found.num_accepted, found.num_right) == (0.0, 1000, 1000)
    assert found.low == pytest.approx(exact_lower_bound(1000, 1000, 0.05 / 20))


def test_the_least_number_of_images_is_exact():
    least = least_images(0.99)
    right = np.ones(least, dtype=bool)
    assert find_threshold(np.linspace(0.5, 1, least), right, 0.99) is not None
    assert find_threshold(np.linspace(0.5, 1, least - 1), right[1:], 0.99) is None
    assert exact_lower_bound(least, least, 0.05 / 20) >= 0.99 > exact_lower_bound(least - 1, least - 1, 0.05 / 20)


def test_unsure_images_are_left_out():
    confidences = np.linspace(0.2, 1, 4000)
    correct = confidences > 0.6  # all others are wrong
    found = find_threshold(confidences, correct, 0.99)
    assert found is not None
    assert 0.58 < found.confidence < 0.72
    assert found.num_accepted == (confidences > found.confidence).sum()


def test_a_network_that_is_sure_and_wrong_has_no_threshold():
    random = np.random.default_rng(0)
    assert find_threshold(random.random(3000), random.random(3000) < 0.95, 0.99) is None


def test_equal_confidences_are_accepted_together():
    confidences = np.repeat([0.5, 1.0], 1000)
    found = find_threshold(confidences, confidences > 0.75, 0.99)
    assert found is not None
    assert (found.confidence, found.num_accepted) == (0.5, 1000)


def test_it_seldom_promises_too_much():
    """The accuracy at a confidence c is c: a threshold t promises too much if the mean of c above t is below 99 %."""
    random = np.random.default_rng(0)
    population = 1 - 0.1 * random.random(200_000) ** 2
    kept = 0
    for _ in range(60):
        confidences = random.choice(population, 1500)
        found = find_threshold(confidences, random.random(1500) < confidences, 0.99)
        kept += found is None or population[population > found.confidence].mean() >= 0.99
    assert kept >= 55
