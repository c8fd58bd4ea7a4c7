"""Measures of whole trainings."""

import math

import pytest

from lit_cnn.claims.curves import largest_stable_rate, steps_to


def test_steps_to_a_threshold_wait_for_the_running_mean():
    falling = [1.0] * 10 + [0.0] * 10
    assert steps_to(falling, 0.5, window=1) == 11
    assert steps_to(falling, 0.45, window=4) == 13  # three zeros and a one
    assert steps_to(falling, -1.0, window=4) is None
    assert steps_to([0.0] * 3, 0.5, window=4) is None
    assert steps_to([0.1, 0.5, 0.9], 0.6, window=1, below=False) == 3
    assert steps_to([0.0] * 30, 0.5) == 20


def test_a_step_without_a_number_does_not_hide_those_after_it():
    assert steps_to([math.nan, math.inf, 0.0, 0.0], 0.5, window=2) == 4
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        steps_to([1.0], 0.5, window=0)


def test_the_largest_stable_rate_is_the_last_before_the_first_failure():
    results = {1.0: 0.1, 0.01: 0.8, 0.1: 0.9, 10.0: 0.9}
    assert largest_stable_rate(results, chance=0.1) == 0.1
    assert largest_stable_rate({0.01: 0.8, 0.1: None, 1.0: 0.9}, chance=0.1) == 0.01
    assert largest_stable_rate({0.01: math.nan, 0.1: 0.9}, chance=0.1) is None
    assert largest_stable_rate({}, chance=0.1) is None


def test_a_stable_rate_learns_more_than_half_of_what_the_best_one_does():
    results = {0.01: 0.9, 0.1: 0.51, 1.0: 0.50}  # the middle between chance and the best is 0.5
    assert largest_stable_rate(results, chance=0.1) == 0.1
    assert largest_stable_rate({0.01: 0.3, 0.1: 0.21, 1.0: 0.19}, chance=0.1) == 0.1
    # The lowest rate learns little in so few steps, against what the best one does.
    assert largest_stable_rate({0.01: 0.3, 0.1: 0.9}, chance=0.1) is None
    assert largest_stable_rate({0.01: 0.1, 0.1: 0.1}, chance=0.1) is None
    assert largest_stable_rate({0.01: 0.05, 0.1: 0.04}, chance=0.1) is None
    assert largest_stable_rate({0.01: math.nan, 0.1: None}, chance=0.1) is None
