"""Intervals, tests and numbers of seeds. Pure functions on arrays; scipy computes where it can.

Tests of seeds ask what other seeds would give on the same images. Tests of images ask what other images would give with the
same networks. Neither answers the other's question: Dietterich 1998, "Approximate statistical tests for comparing supervised
classification learning algorithms", Neural Computation 10; Bouthillier et al. 2021, arXiv:2103.03098.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

# Into so many equally likely parts the distribution of a standard deviation is cut.
_PARTS = 400
# Degrees of freedom with which a t distribution is a normal one.
MANY = 100_000
# Differences of equal numbers differ by rounding: 0.6 - 0.5 is not 0.5 - 0.4.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval.

    Args:
        value: The estimate.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


# Seeds


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean m and its interval m ± t · s / √n with Student's t of n − 1 degrees of freedom.

    Source: Student 1908, "The probable error of a mean", Biometrika 6, 1–25.

    Args:
        values: Independent values, one for each seed, (n,).
        confidence: Share of studies whose interval contains the true mean.
    Raises:
        ValueError: If there are fewer than two values.
    """
    array = _at_least_two(values)
    mean, half = float(array.mean()), _t(confidence, len(array) - 1) * _standard_error(array)
    return Interval(mean, mean - half, mean + half)


def paired_difference(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean of b − a with its interval: :func:`mean_interval` of the differences.

    Args:
        a: Values of the first arm, one for each seed, (n,).
        b: Values of the second arm with the same seeds, (n,).
        confidence: See :func:`mean_interval`.
    Raises:
        ValueError: If there are fewer than two pairs, or the numbers of values differ.
    """
    return mean_interval(_differences(a, b), confidence)


def paired_p(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p of a paired t test: t = m / (s / √n) of the differences b − a, with n − 1 degrees of freedom.

    Without spread, it is 1 if both arms are equal, else 0.

    Source: Student 1908; :func:`scipy.stats.ttest_1samp`.

    Raises:
        ValueError: See :func:`paired_difference`.
    """
    differences = _differences(a, b)
    if not _standard_error(differences):
        return float(not differences.any())
    return float(stats.ttest_1samp(differences, 0).pvalue)


def unpaired_difference(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean of b minus mean of a with its interval, for arms without common seeds and of unequal spread.

    Source: Welch 1947, "The generalization of Student's problem", Biometrika 34, 28–35; :func:`scipy.stats.ttest_ind`.

    Raises:
        ValueError: If an arm has fewer than two values.
    """
    first, second = _at_least_two(a), _at_least_two(b)
    difference = float(second.mean() - first.mean())
    if not (_standard_error(first) or _standard_error(second)):
        return Interval(difference, difference, difference)
    low, high = stats.ttest_ind(second, first, equal_var=False).confidence_interval(confidence)
    return Interval(difference, float(low), float(high))


def unpaired_p(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p of Welch's t test; see :func:`unpaired_difference`. Without spread, 1 if both are equal, else 0."""
    first, second = _at_least_two(a), _at_least_two(b)
    if not (_standard_error(first) or _standard_error(second)):
        return float(first[0] == second[0])
    return float(stats.ttest_ind(second, first, equal_var=False).pvalue)


def equivalence_p(differences: ArrayLike, margin: float) -> float:
    """Whether a mean difference lies within ±margin: the larger p of two one-sided t tests.

    They are of m ≤ −margin and of m ≥ margin. Below 0.05, the 90 % interval of the mean lies within the margin.

    Source: Schuirmann 1987, J. Pharmacokinetics and Biopharmaceutics 15, 657–680.

    Args:
        differences: One for each seed, (n,).
        margin: The smallest difference that matters, positive.
    Raises:
        ValueError: If there are fewer than two differences.
    """
    array = _at_least_two(differences)
    if not _standard_error(array):
        return float(abs(array[0]) >= margin)
    nearer = margin - abs(float(array.mean()))  # of both ends, the one whose test has the larger p
    return float(stats.t.sf(nearer / _standard_error(array), len(array) - 1))


def holm(p_values: ArrayLike) -> np.ndarray:
    """p values adjusted for their number: rejecting those below 0.05 errs anywhere in at most 5 % of studies.

    The i-th smallest of k is multiplied by k − i + 1; none becomes smaller than one before it, or larger than 1.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 65–70.

    Shape:
        Input and output (k,), in the same order.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


# Images


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test: whether two networks recognise equally many images of the same kind.

    Each image that one network alone recognised is a throw of a fair coin: a binomial test.

    Source: McNemar 1947, Psychometrika 12, 153–157; :func:`scipy.stats.binomtest`.

    Args:
        only_first: Images that the first network alone recognised.
        only_second: Images that the second alone recognised.
    """
    number = only_first + only_second
    return float(stats.binomtest(only_first, number).pvalue) if number else 1.0


def mcnemar_over_seeds(net: ArrayLike) -> float:
    """Exact two-sided p of McNemar's test of images that the networks of several seeds classified.

    Answers of several seeds for one image are not independent, so an image counts once, with its net number of wins. If
    the arms are alike, each sign is as likely as the other: the p value is the share of all signs that give a sum as far
    from 0. For one seed, this is :func:`mcnemar`.

    Source: Durkalski et al. 2003, "The analysis of clustered matched-pair data", Statistics in Medicine 22, 2417–2428, whose
    statistic is the normal approximation; Pitman 1937, J. R. Statist. Soc. Suppl. 4, 119–130, for the exact distribution.

    Args:
        net: For each image, number of seeds of the second arm that recognised it minus that of the first, (N,) int.
    """
    wins = np.asarray(net, dtype=np.int64)
    distribution = np.ones(1)  # of the sum of the positive numbers
    for size, count in zip(*np.unique(np.abs(wins[wins != 0]), return_counts=True), strict=True):
        part = np.zeros(size * count + 1)
        part[::size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = np.convolve(distribution, part)
    positive = int(wins[wins > 0].sum())
    return float(min(1, 2 * min(distribution[: positive + 1].sum(), distribution[positive:].sum())))


# Numbers of seeds


def paired_power(sd: float, effect: float, seeds: int, alpha: float = 0.05) -> float:
    """Share of studies with so many pairs of seeds in which a two-sided paired t test finds an effect.

    t is noncentral with n − 1 degrees of freedom and noncentrality √n · effect / sd.

    Source: Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, 2nd ed.; :data:`scipy.stats.nct`.

    Args:
        sd: Standard deviation of the differences, positive.
        effect: The true mean difference.
        seeds: Number of pairs n, at least 2.
        alpha: Level of the test.
    """
    critical, centre = _t(1 - alpha, seeds - 1), math.sqrt(seeds) * abs(effect) / sd
    return float(stats.nct.sf(critical, seeds - 1, centre) + stats.nct.cdf(-critical, seeds - 1, centre))


def seeds_needed(sd: float, effect: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Smallest number of pairs of seeds with which a paired t test finds an effect; see :func:`paired_power`.

    Raises:
        ValueError: If the effect is 0.
    """
    if not effect:
        raise ValueError("no number of seeds shows an effect of 0")
    normal = (stats.norm.isf(alpha / 2) + stats.norm.isf(1 - power)) * sd / abs(effect)
    return _smallest(normal, lambda seeds: paired_power(sd, effect, seeds, alpha) >= power) if sd else 2


def seeds_for_equivalence(sd: float, margin: float, difference: float = 0.0, power: float = 0.8, alpha: float = 0.05) -> int:
    """Smallest number of pairs of seeds with which :func:`equivalence_p` falls below alpha with this power.

    Given the standard deviation s of the study, the mean is normal, and both tests reject if it lies within
    ±(margin − t · s / √n). This share is averaged over the distribution of s.

    Source: Phillips 1990, "Power of the two one-sided tests procedure in bioequivalence", J. Pharmacokinet. Biopharm. 18.

    Args:
        sd: Standard deviation of the differences.
        margin: The smallest difference that matters.
        difference: The true mean difference.
        power: Share of studies that are to show equivalence.
        alpha: Level of both tests.
    Raises:
        ValueError: If the difference is not within the margin.
    """
    if abs(difference) >= margin:
        raise ValueError(f"a difference of {abs(difference):g} is not within the margin {margin:g}: it is no equivalence")
    quantiles = (np.arange(_PARTS) + 0.5) / _PARTS

    def suffices(seeds: int) -> bool:
        degrees, error = seeds - 1, sd / math.sqrt(seeds)
        half = margin - _t(1 - 2 * alpha, degrees) * error * np.sqrt(stats.chi2.ppf(quantiles, degrees) / degrees)
        share = stats.norm.cdf((half - difference) / error) - stats.norm.cdf((-half - difference) / error)
        return bool(np.maximum(share, 0).mean() >= power)

    # Not above the number that is needed: as if the nearer end of the margin were the only one.
    normal = (stats.norm.isf(alpha) + stats.norm.isf(1 - power)) * sd / (margin - abs(difference))
    return _smallest(normal, suffices) if sd else 2


def _smallest(normal: float, suffices: Callable[[int], bool]) -> int:
    """The smallest sufficient number, at least 2, upwards from the square of that for normal distributions."""
    seeds = max(2, math.ceil(normal**2))
    if seeds > MANY:  # there, t is normal
        return seeds
    while not suffices(seeds):
        seeds += 1
    return seeds


def _t(confidence: float, degrees: int) -> float:
    return float(stats.t.isf((1 - confidence) / 2, degrees))


def _standard_error(values: np.ndarray) -> float:
    """Of the mean; exactly 0 if all values are equal but for rounding."""
    equal = np.ptp(values) <= _ROUNDING * np.abs(values).max()
    return 0.0 if equal else float(values.std(ddof=1)) / math.sqrt(len(values))


def _differences(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    first, second = _at_least_two(a), _at_least_two(b)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values cannot be paired: give one of each seed")
    differences = second - first
    rounding = _ROUNDING * max(np.abs(first).max(), np.abs(second).max())
    return np.full_like(differences, differences[0]) if np.ptp(differences) <= rounding else differences


def _at_least_two(values: ArrayLike | Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        raise ValueError(f"a spread over seeds needs at least 2 values, got {len(array)}")
    return array
