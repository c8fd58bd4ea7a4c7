"""An estimate with its interval, and the exact interval of a share."""

from __future__ import annotations

from dataclasses import dataclass


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


def exact_share(hits: int, number: int, confidence: float = 0.95) -> Interval:
    """A share with its exact two-sided interval.

    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits", Biometrika 26, 404–413.

    Args:
        hits: Number of successes.
        number: Number of trials, at least 1.
        confidence: Least share of studies whose interval contains the true share.
    """
    tail = (1 - confidence) / 2
    return Interval(hits / number, exact_lower_bound(hits, number, tail), 1 - exact_lower_bound(number - hits, number, tail))


def exact_lower_bound(hits: int, number: int, alpha: float) -> float:
    """The lower end of the exact one-sided interval of a share; 0 without trials. See :func:`exact_share`.

    Args:
        hits: Number of successes.
        number: Number of trials, as many at least.
        alpha: Largest share of studies whose bound lies above the true share.
    """
    from scipy.special import betaincinv  # scipy.stats takes a second to import

    return float(betaincinv(hits, number - hits + 1, alpha)) if hits else 0.0
