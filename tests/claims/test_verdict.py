"""Rules by which intervals become verdicts."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from fake_questions import NOISE, ask, decide, differences

from lit_cnn.analysis.statistics import mean_interval
from lit_cnn.claims.verdict import Verdict, answer

SUPPORTED, REFUTED, INCONCLUSIVE, OPEN = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.OPEN


# Differences


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(0.3, SUPPORTED), (0.0, INCONCLUSIVE), (-0.1, INCONCLUSIVE), (-0.3, REFUTED)],
)
def test_above_needs_an_interval_on_one_side_of_the_threshold(mean: float, expected: Verdict):
    found = decide(mean)
    assert (found.verdict, found.n) == (expected, 5)
    interval = mean_interval(np.add(NOISE, mean))
    assert astuple(found.interval) == pytest.approx(astuple(interval), abs=1e-9)


@pytest.mark.parametrize("mean", [0.3, 0.0, -0.1, -0.3])
def test_below_is_the_mirror_of_above(mean: float):
    mirrored = {"contrast": {"b": -1, "a": 1}, "expect": "below"}
    for threshold, margin in ((0.0, 0.0), (0.1, 0.3)):
        expected = decide(mean, threshold=threshold, margin=margin)
        found = decide(mean, **mirrored, threshold=-threshold, margin=margin)
        assert (found.verdict, found.seeds_needed) == (expected.verdict, expected.seeds_needed)


def test_a_threshold_moves_the_rule():
    assert decide(1.0, threshold=0.7).verdict is SUPPORTED
    assert decide(1.0, threshold=1.1).verdict is INCONCLUSIVE
    assert decide(1.0, threshold=1.3).verdict is REFUTED


def test_an_effect_below_the_margin_is_refuted():
    assert decide(0.0, margin=0.1).verdict is INCONCLUSIVE
    assert decide(0.0, margin=0.3).verdict is REFUTED


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (0.0, SUPPORTED),
        (0.4, SUPPORTED),  # within the interval from 0.10 to 0.50
        (0.49, SUPPORTED),
        (0.5, REFUTED),  # above 0, but smaller than what matters
        (5.0, REFUTED),
    ],
)
def test_an_effect_that_is_shown_to_be_smaller_than_the_margin_counts_as_none(margin: float, expected: Verdict):
    assert decide(0.3, margin=margin).verdict is expected
    assert decide(-0.3, margin=margin, expect="below").verdict is expected


@pytest.mark.parametrize(
    ("mean", "threshold", "expected"),
    [
        (0.0, 0.5, SUPPORTED),
        (0.0, 0.16, SUPPORTED),  # within the 90 % interval of ±0.151, two one-sided tests at 5 %
        (0.0, 0.14, INCONCLUSIVE),
        (0.4, 0.5, INCONCLUSIVE),
        (0.8, 0.5, REFUTED),
        (-0.8, 0.5, REFUTED),
    ],
)
def test_within_is_equivalence(mean: float, threshold: float, expected: Verdict):
    assert decide(mean, expect="within", threshold=threshold).verdict is expected


def test_pairs_are_of_the_same_seed():
    values = differences(0.3)
    values["b"] = dict(reversed(values["b"].items())) | {7: 0.0}  # another order, and a seed that a has not
    assert answer(ask(), values) == decide(0.3)


def test_a_contrast_may_weigh_more_than_two_arms():
    values = differences(0.3)
    question = ask(contrast={"b": 1, "a": -1, "d": -1, "c": 1})
    both = answer(question, values | {"c": values["a"], "d": values["b"]})
    assert (both.interval.value, both.verdict) == (0, INCONCLUSIVE)


# Ratios


def test_with_log_an_interval_is_of_the_ratio():
    values = {"a": {seed: 10.0 * (seed + 1) for seed in range(5)}, "b": {}}
    values["b"] = {
        seed: 2 * value * math.exp(noise) for (seed, value), noise in zip(values["a"].items(), NOISE, strict=True)
    }
    found = answer(ask(scale="log", threshold=1.5), values)
    assert found.verdict is SUPPORTED
    assert found.interval.value == pytest.approx(2)
    assert found.interval.low == pytest.approx(2 * math.exp(mean_interval(NOISE).low))
    assert answer(ask(scale="log", threshold=1.9), values).verdict is INCONCLUSIVE
    assert answer(ask(scale="log", threshold=2.2, margin=0.1), values).verdict is INCONCLUSIVE
    # Refuted below 2.2 · 1.2 = 2.64; the interval ends at 2.43.
    assert answer(ask(scale="log", threshold=2.2, margin=0.2), values).verdict is REFUTED
    assert answer(ask(scale="log", threshold=2.5, expect="within"), values).verdict is SUPPORTED
    assert answer(ask(scale="log", threshold=1.2, expect="within"), values).verdict is REFUTED


@pytest.mark.filterwarnings("error")
def test_what_has_no_logarithm_is_told():
    values = {"a": {0: 1.0, 1: 2.0}, "b": {0: 0.0, 1: 1.0}}
    found = answer(ask(scale="log", threshold=1), values)
    assert (found.interval, found.verdict, found.missing) == (None, INCONCLUSIVE, "b has a value of 0, which has no ratio")


# Missing and constant values


def test_without_a_common_seed_the_question_is_open():
    assert answer(ask(), {"a": {}, "b": {}}).verdict is OPEN
    assert answer(ask(), {"a": {0: 1.0}, "b": {1: 1.0}}).missing == "no seed is finished in every arm"
    assert answer(ask(), {"a": {0: 1.0}}).verdict is OPEN


def test_one_seed_gives_no_interval():
    found = answer(ask(), {"a": {0: 1.0}, "b": {0: 5.0}})
    assert (found.verdict, found.missing) == (OPEN, "one seed gives no interval over seeds")


def test_a_training_that_diverged_decides_nothing():
    values = differences(0.3)
    values["b"][3] = None
    found = answer(ask(), values)
    assert (found.verdict, found.n) == (INCONCLUSIVE, 4)
    assert found.missing == "b has no value with 1 of 5 seeds"


def test_a_training_that_does_not_reach_its_loss_decides_nothing():
    values = differences(0.3)
    values["b"][3] = values["b"][4] = None
    found = answer(ask(), values, reasons={"b": "does not arrive"})
    assert (found.verdict, found.n) == (INCONCLUSIVE, 3)
    assert found.missing == "b does not arrive with 2 of 5 seeds"


def test_an_arm_that_no_rate_trains_decides_nothing():
    found = answer(ask(), {"a": {0: 1.0}, "b": {}}, untrained=["b"])
    assert (found.verdict, found.missing) == (INCONCLUSIVE, "no rate of the grid trains b")


EQUAL = {seed: 4.0 * seed + 2 for seed in range(5)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"expect": "above", "threshold": 1.0}, SUPPORTED),
        ({"expect": "above", "threshold": 2.0}, INCONCLUSIVE),  # neither above nor below
        ({"expect": "above", "threshold": 2.0, "margin": 0.1}, REFUTED),
        ({"expect": "above", "threshold": 3.0}, REFUTED),
        ({"expect": "below", "threshold": 3.0}, SUPPORTED),
        ({"expect": "within", "threshold": 3.0}, SUPPORTED),
        ({"expect": "within", "threshold": 2.0}, INCONCLUSIVE),
        ({"expect": "within", "threshold": 1.0}, REFUTED),
    ],
)
@pytest.mark.filterwarnings("error")
def test_five_equal_differences_need_no_spread(changes: dict[str, object], expected: Verdict):
    counted = answer(ask(**changes), {"a": {-1: 1.0}, "b": {-1: 3.0}})
    repeated = answer(ask(**changes), {"a": {seed: 4.0 * seed for seed in range(5)}, "b": EQUAL})
    for found in (counted, repeated):
        assert (found.verdict, found.seeds_needed) == (expected, None)
        assert found.interval.low == found.interval.high == 2


@pytest.mark.parametrize("expect", ["above", "below", "within"])
def test_fewer_equal_differences_decide_nothing(expect: str):
    question = ask(expect=expect, threshold=1.0)
    values = {"a": {seed: 4.0 * seed for seed in range(4)}, "b": EQUAL}
    found = answer(question, values)
    assert (found.verdict, found.interval, found.n) == (INCONCLUSIVE, None, 4)
    assert found.missing == "4 equal differences of 2 have no spread"
    ratio = answer(ask(scale="log", threshold=1), {"a": {0: 1.0, 1: 5.0}, "b": {0: 3.0, 1: 15.0}})
    assert ratio.missing == "2 equal ratios of 3 have no spread"


def test_differences_that_are_equal_but_for_rounding_have_no_spread():
    values = {"a": {0: 0.5, 1: 0.4, 2: 0.3}, "b": {0: 0.6, 1: 0.5, 2: 0.4}}
    assert answer(ask(), values).missing == "3 equal differences of 0.1 have no spread"


# Bounds


@pytest.mark.parametrize(
    ("mean", "expect", "lower", "upper", "expected"),
    [
        (0.3, "above", "b", "a", SUPPORTED),  # b may be larger still, or a smaller
        (0.3, "above", "a", "b", INCONCLUSIVE),
        (-0.3, "above", "a", "b", REFUTED),
        (-0.3, "above", "b", "a", INCONCLUSIVE),
        (-0.3, "below", "a", "b", SUPPORTED),
        (-0.3, "below", "b", "a", INCONCLUSIVE),
        (0.3, "below", "b", "a", REFUTED),
        (0.3, "below", "a", "b", INCONCLUSIVE),
        (0.0, "within", "a", "b", INCONCLUSIVE),
        (0.8, "within", "b", "a", REFUTED),
        (0.8, "within", "a", "b", INCONCLUSIVE),
        (-0.8, "within", "a", "b", REFUTED),
        (-0.8, "within", "b", "a", INCONCLUSIVE),
    ],
)
def test_a_bound_does_not_carry_a_verdict_that_it_may_overturn(
    mean: float, expect: str, lower: str, upper: str, expected: Verdict
):
    question, seeds = ask(expect=expect, threshold=0.5 if expect == "within" else 0), {1, 2, 99}
    for bounds in ({"bounds": {lower: seeds}}, {"upper_bounds": {upper: seeds}}):
        found = answer(question, differences(mean), **bounds)
        counts = (2, 0) if "bounds" in bounds else (0, 2)
        assert (found.verdict, found.num_bounds, found.num_upper_bounds, found.num_values) == (expected, *counts, 10)
        assert found.seeds_needed is None


def test_two_arms_that_never_arrive_show_no_equality():
    never = dict.fromkeys(range(5), 100.0)
    found = answer(ask(margin=1, scale="log", threshold=1), {"a": never, "b": never}, {"a": set(never), "b": set(never)})
    assert (found.verdict, found.num_bounds) == (INCONCLUSIVE, 10)
