"""Intervals, tests and numbers of seeds. Pure functions on arrays; scipy computes where it can.

Tests of seeds ask what other seeds would give on the same images. Tests of images, in :mod:`lit_cnn.analysis.mcnemar`, ask
what other images would give with the same networks. Neither answers the other's question: Dietterich 1998, "Approximate
statistical tests for comparing supervised classification learning algorithms", Neural Computation 10; Bouthillier et al.
2021, arXiv:2103.03098.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from lit_cnn.inference.interval import Interval

# Into so many equally likely parts the distribution of a standard deviation is cut.
_PARTS = 400
# Degrees of freedom with which a t distribution is a normal one.
_MANY = 100_000
# No larger number of seeds is computed.
MOST_SEEDS = 10**12
# A larger noncentrality of t has the same power.
_LARGEST_CENTRE = 1e8
# Differences of equal numbers differ by rounding: 0.6 - 0.5 is not 0.5 - 0.4.
_ROUNDING = 1e-12


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
    return _larger_one_sided_p(float(array.mean()), _standard_error(array), len(array) - 1, margin)


def unpaired_equivalence_p(a: ArrayLike, b: ArrayLike, margin: float) -> float:
    """:func:`equivalence_p` with Welch's t tests, for arms without common seeds and of unequal spread.

    Raises:
        ValueError: If an arm has fewer than two values.
    """
    first, second = _at_least_two(a), _at_least_two(b)
    squares = np.array([_standard_error(first) ** 2, _standard_error(second) ** 2])
    degrees = squares.sum() ** 2 / (squares**2 / [len(first) - 1, len(second) - 1]).sum() if squares.any() else 1.0
    return _larger_one_sided_p(float(second.mean() - first.mean()), math.sqrt(squares.sum()), degrees, margin)


def _larger_one_sided_p(mean: float, error: float, degrees: float, margin: float) -> float:
    nearer = margin - abs(mean)  # of both ends, the one whose test has the larger p
    return float(stats.t.sf(nearer / error, degrees)) if error else float(nearer <= 0)


def holm(p_values: ArrayLike, most_true: int | None = None) -> np.ndarray:
    """p values adjusted for their number: rejecting those below 0.05 errs anywhere in at most 5 % of studies.

    The i-th smallest of k is multiplied by k − i + 1; none becomes smaller than one before it, or larger than 1. If some
    hypotheses exclude each other, no factor need be larger than the number of those that can be true together.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 65–70; for
    hypotheses that exclude each other, Shaffer 1986, J. Am. Statist. Assoc. 81, 826–831.

    Args:
        p_values: Of k tests.
        most_true: Number of tested hypotheses that can be true together; k if not given.
    Shape:
        Input and output (k,), in the same order.
    """
    p = np.asarray(p_values, dtype=np.float64)
    factors = np.minimum(np.arange(len(p), 0, -1), len(p) if most_true is None else most_true)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * factors))
    return adjusted


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
    degrees = min(seeds - 1, _MANY)
    critical, centre = _t(1 - alpha, degrees), min(math.sqrt(seeds) * (abs(effect) / sd), _LARGEST_CENTRE)
    lower = float(stats.nct.cdf(-critical, degrees, centre))  # NaN where it is too small to be computed
    return float(stats.nct.sf(critical, degrees, centre)) + (0.0 if math.isnan(lower) else lower)


def seeds_needed(sd: float, effect: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Smallest number of pairs of seeds with which a paired t test finds an effect; see :func:`paired_power`.

    At most :data:`MOST_SEEDS`.

    Raises:
        ValueError: If the effect is 0.
    """
    if not effect:
        raise ValueError("no number of seeds shows an effect of 0")
    return _smallest(lambda seeds: paired_power(sd, effect, seeds, alpha) >= power) if sd else 2


def seeds_for_equivalence(sd: float, margin: float, difference: float = 0.0, power: float = 0.8, alpha: float = 0.05) -> int:
    """Smallest number of pairs of seeds with which :func:`equivalence_p` falls below alpha with this power.

    Given the standard deviation s of the study, the mean is normal, and both tests reject if it lies within
    ±(margin − t · s / √n). This share is averaged over the distribution of s. At most :data:`MOST_SEEDS`.

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
        degrees, error = min(seeds - 1, _MANY), sd / math.sqrt(seeds)
        half = margin - _t(1 - 2 * alpha, degrees) * error * np.sqrt(stats.chi2.ppf(quantiles, degrees) / degrees)
        share = stats.norm.cdf((half - difference) / error) - stats.norm.cdf((-half - difference) / error)
        return bool(np.maximum(share, 0).mean() >= power)

    return _smallest(suffices) if sd else 2


def _smallest(suffices: Callable[[int], bool]) -> int:
    """The smallest sufficient number, at least 2, by bisection."""
    too_few, enough = 1, 2
    while not suffices(enough):
        if enough >= MOST_SEEDS:
            return MOST_SEEDS
        too_few, enough = enough, min(2 * enough, MOST_SEEDS)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if suffices(middle) else (middle, enough)
    return enough


def _t(confidence: float, degrees: float) -> float:
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
