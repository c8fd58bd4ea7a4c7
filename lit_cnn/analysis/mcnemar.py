"""McNemar's test: whether networks recognise the same images equally often."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import fft, optimize, stats

# So many standard deviations from the mean, a sum of bounded independent numbers has a probability below 1e-30.
_FAR = 12


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
    sizes, counts = np.unique(np.abs(wins[wins != 0]), return_counts=True)
    observed, largest = abs(int(wins.sum())), int(sizes @ counts)
    if observed == largest:  # all signs are alike
        return min(1.0, 2 * 0.5 ** float(counts.sum()))
    # With the probabilities of all sums s multiplied by exp(slope · s), their mean is the observed sum: so the tail has the
    # precision of its own size. Their characteristic function is a product, since signs are independent.
    slope = optimize.brentq(lambda at: counts @ (sizes * np.tanh(sizes * at)) - observed, 0, math.log(2 * largest) + 1)
    num = fft.next_fast_len(math.ceil(2 * _FAR * math.sqrt(sizes**2 @ counts)) + 2)
    angles = 2 * np.pi * np.arange(num) / num
    transform = np.exp(-1j * angles * observed)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        transform *= (np.cos(size * angles) + 1j * math.tanh(size * slope) * np.sin(size * angles)) ** count
    above = np.arange(num // 2)
    tail = fft.fft(transform).real[: len(above)] / num
    log_sum = float(counts @ np.log(np.cosh(sizes * slope)))
    return float(np.clip(2 * (np.exp(log_sum - slope * (observed + above)) @ tail), 0, 1))
