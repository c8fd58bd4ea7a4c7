"""Intervals and tests: against published worked examples, and against simulated studies."""

import time

import numpy as np
import pytest

from lit_cnn.analysis.statistics import (
    MOST_SEEDS,
    Interval,
    equivalence_p,
    holm,
    mean_interval,
    paired_difference,
    paired_p,
    paired_power,
    seeds_for_equivalence,
    seeds_needed,
    unpaired_difference,
    unpaired_equivalence_p,
    unpaired_p,
)

# Additional hours of sleep of ten patients by two drugs: Student 1908, "The probable error of a mean", Biometrika 6, p. 20.
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def ends(interval: Interval) -> list[float]:
    return [interval.value, interval.low, interval.high]


# Worked examples. R's help pages of t.test and sleep print these results for Student's data.


def test_students_sleep_paired():
    assert paired_p(SLEEP_1, SLEEP_2) == pytest.approx(0.002833, abs=5e-7)
    assert ends(paired_difference(SLEEP_1, SLEEP_2)) == pytest.approx([1.58, 0.7001142, 2.4598858], abs=5e-8)
    differences = np.subtract(SLEEP_2, SLEEP_1)
    assert mean_interval(differences) == paired_difference(SLEEP_1, SLEEP_2)


def test_students_sleep_as_if_the_patients_were_not_the_same():
    assert unpaired_p(SLEEP_1, SLEEP_2) == pytest.approx(0.07939, abs=5e-6)
    assert ends(unpaired_difference(SLEEP_1, SLEEP_2)) == pytest.approx([1.58, -0.2054832, 3.3654832], abs=5e-8)


def test_holm_of_neuhaus():
    # Benjamini and Hochberg 1995, J. R. Statist. Soc. B 57, p. 295: at a family-wise rate of 5 %, the first three of
    # these fifteen are rejected.
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.324, 0.4262, 0.5719, 0.6528]
    p_values += [0.759, 1.0]
    adjusted = holm(p_values)
    assert adjusted[:4].tolist() == pytest.approx([15 * 0.0001, 14 * 0.0004, 13 * 0.0019, 12 * 0.0095])
    assert (adjusted < 0.05).tolist() == [True] * 3 + [False] * 12
    assert holm(p_values[::-1]).tolist() == adjusted[::-1].tolist()
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).tolist() == []
    # Shaffer 1986: of four hypotheses, two exclude the two others.
    assert holm([0.01, 0.04, 0.03, 0.005], most_true=2).tolist() == pytest.approx([0.02, 0.06, 0.06, 0.01])


@pytest.mark.parametrize(
    ("effect", "seeds", "alpha", "expected"),
    [
        (0.2, 60, 0.10, 0.46),  # Cohen 1988, Statistical Power Analysis, 2nd ed., p. 203, exercise 6.5
        (0.421637, 50, 0.05, 0.832114),  # manual of G*Power 3.1, "difference between two dependent means"
    ],
)
def test_power_of_a_paired_t_test(effect: float, seeds: int, alpha: float, expected: float):
    assert paired_power(1, effect, seeds, alpha) == pytest.approx(expected, abs=0.005)
    assert paired_power(3, -3 * effect, seeds, alpha) == pytest.approx(expected, abs=0.005)


def test_seeds_needed():
    # Cohen 1988: small, medium and large effects at 80 % power take 199, 34 and 15 pairs.
    assert [seeds_needed(1, effect) for effect in (0.2, 0.5, 0.8)] == [199, 34, 15]
    assert seeds_needed(0.004, -0.0032) == 15
    assert seeds_needed(0, 0.1) == 2
    assert seeds_needed(1, 1e-4) == pytest.approx((1.959964 + 0.841621) ** 2 * 1e8, rel=1e-4)
    with pytest.raises(ValueError, match="an effect of 0"):
        seeds_needed(1, 0)


@pytest.mark.parametrize("ratio", [1e-300, 1e-5, 0.003, 0.1, 1, 30, 1e6, 1e200])
def test_numbers_of_seeds_take_no_time(ratio: float):
    started = time.perf_counter()
    numbers = [seeds_needed(0.01, ratio * 0.01), seeds_for_equivalence(0.01, ratio * 0.01)]
    assert all(2 <= number <= MOST_SEEDS for number in numbers)
    assert time.perf_counter() - started < 1
    if 0.003 <= ratio <= 0.1:
        # Above so many seeds, s is σ: an interval of ±1.645 σ / √n, and 10 % of studies beyond each end.
        assert numbers[1] == pytest.approx(((1.644854 + 1.281552) / ratio) ** 2, rel=0.01)


def test_equivalence_is_a_90_percent_interval_within_the_margin():
    # Schuirmann 1987, J. Pharmacokinet. Biopharm. 15, p. 661: both tests at 5 % reject if and only if it lies within.
    differences = np.subtract(SLEEP_2, SLEEP_1)
    high = mean_interval(differences, confidence=0.9).high
    assert equivalence_p(differences, high) == pytest.approx(0.05)
    assert equivalence_p(-differences, high) == pytest.approx(0.05)
    assert equivalence_p(differences, 1.58) == pytest.approx(0.5)
    high = unpaired_difference(SLEEP_1, SLEEP_2, confidence=0.9).high
    assert unpaired_equivalence_p(SLEEP_1, SLEEP_2, high) == pytest.approx(0.05)
    assert unpaired_equivalence_p(SLEEP_2, SLEEP_1, high) == pytest.approx(0.05)
    assert unpaired_equivalence_p([0.5, 0.5], [0.5, 0.5], 0.1) == 0


# What cannot be computed


def test_values_without_spread():
    assert ends(mean_interval([0.5, 0.5, 0.5])) == [0.5, 0.5, 0.5]
    assert paired_p([0.5, 0.6], [0.5, 0.6]) == 1
    assert paired_p([0.5, 0.5], [0.75, 0.75]) == 0
    assert paired_p([0.4, 0.5], [0.5, 0.6]) == 0  # 0.5 - 0.4 and 0.6 - 0.5 differ by rounding
    assert equivalence_p(np.subtract([0.5, 0.6], [0.4, 0.5]), 0.2) == 0
    assert equivalence_p([0.0, 0.0], 0.1) == 0
    assert equivalence_p([0.25, 0.25], 0.1) == 1
    assert unpaired_p([0.5, 0.5], [0.5, 0.5]) == 1
    assert unpaired_p([0.5, 0.5], [0.75, 0.75]) == 0
    assert ends(unpaired_difference([0.5, 0.5], [0.75, 0.75])) == [0.25, 0.25, 0.25]


@pytest.mark.parametrize("measure", [mean_interval, lambda values: paired_p(values, values)])
def test_one_value_has_no_interval(measure):
    with pytest.raises(ValueError, match="at least 2 values, got 1"):
        measure([0.5])


def test_pairs_must_match():
    with pytest.raises(ValueError, match="2 and 3 values cannot be paired"):
        paired_difference([1, 2], [1, 2, 3])


# Simulated studies


def simulate(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_a_95_percent_interval_covers_the_mean_in_95_percent_of_studies():
    intervals = [mean_interval(values) for values in 0.7 + 0.01 * simulate((2000, 5))]
    assert 0.93 <= np.mean([interval.low <= 0.7 <= interval.high for interval in intervals]) <= 0.97
    one, other = simulate((2000, 5)), 0.3 + simulate((2000, 5), 1)
    intervals = [paired_difference(*pair) for pair in zip(one, other, strict=True)]
    assert 0.93 <= np.mean([interval.low <= 0.3 <= interval.high for interval in intervals]) <= 0.97


def test_an_equivalence_test_errs_in_5_percent_of_studies_at_the_margin():
    differences = 0.5 + 0.2 * simulate((2000, 8))  # the true difference is the margin itself
    assert 0.035 <= np.mean([equivalence_p(values, 0.5) < 0.05 for values in differences]) <= 0.065


def test_seeds_needed_decide_in_80_percent_of_studies():
    seeds = seeds_needed(sd=0.4, effect=0.5)
    differences = 0.5 + 0.4 * simulate((1500, seeds))
    decided = np.mean([paired_p(np.zeros(seeds), values) < 0.05 for values in differences])
    assert paired_power(0.4, 0.5, seeds) == pytest.approx(decided, abs=0.03)
    assert paired_power(0.4, 0.5, seeds - 1) < 0.8 <= paired_power(0.4, 0.5, seeds)


def test_seeds_for_equivalence_decide_in_80_percent_of_studies():
    seeds = seeds_for_equivalence(sd=0.4, margin=0.5, difference=0.1)
    differences = 0.1 + 0.4 * simulate((1500, seeds))
    decided = np.mean([equivalence_p(values, 0.5) < 0.05 for values in differences])
    fewer = np.mean([equivalence_p(values[:-1], 0.5) < 0.05 for values in differences])
    assert fewer - 0.03 < 0.8 <= decided + 0.03
    assert seeds_for_equivalence(0, 0.5) == 2
    with pytest.raises(ValueError, match=r"a difference of 0\.6 is not within the margin 0\.5"):
        seeds_for_equivalence(0.4, 0.5, -0.6)
