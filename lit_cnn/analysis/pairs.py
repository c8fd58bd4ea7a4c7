"""Pairs of arms: differences by seed, and Holm's method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lit_cnn.analysis.images import ImagePairs
from lit_cnn.analysis.seeds import Seed, vary_together
from lit_cnn.analysis.statistics import (
    Interval,
    equivalence_p,
    holm,
    paired_difference,
    paired_p,
    unpaired_difference,
    unpaired_equivalence_p,
    unpaired_p,
)

# Level of all tests, and of the intervals 1 - LEVEL.
LEVEL = 0.05


@dataclass(frozen=True)
class Measure:
    """What is compared.

    Args:
        name: As in ``test/acc``.
        title: In words.
        is_share: Whether it is shown in percent, and its differences in points.
        higher_is_better: False for a loss.
    """

    name: str
    title: str
    is_share: bool = True
    higher_is_better: bool = True

    def show(self, value: float) -> str:
        return f"{100 * self.clip(value):.2f} %" if self.is_share else f"{value:.4f}"

    def clip(self, value: float) -> float:
        """A share between 0 and 1: the interval of a mean may end outside."""
        return min(max(value, 0.0), 1.0) if self.is_share else value

    def show_difference(self, value: float, sign: bool = True) -> str:
        digits = 2 if self.is_share else 4
        number = round(100 * value if self.is_share else value, digits) + 0.0  # never -0
        return f"{number:{'+' if sign else ''}.{digits}f}"

    @property
    def unit(self) -> str:
        return " points" if self.is_share else ""


MEASURES = {
    "acc": Measure("acc", "accuracy"),
    "f1": Measure("f1", "macro F1"),
    "loss": Measure("loss", "loss", is_share=False, higher_is_better=False),
}


@dataclass(frozen=True)
class PairSummary:
    """Two arms, the second minus the first.

    Args:
        first: Name of the baseline.
        second: Name of the other arm.
        seeds: Seeds of both arms, by which their values are paired; empty if they are not.
        difference: Mean difference with its 95 % interval over seeds; None if seeds give none.
        equivalence: The same with its 90 % interval, to which two one-sided tests at 5 % correspond; None without a margin.
        p: Of the paired t test; of Welch's, if values are not paired.
        p_adjusted: By Holm's method over all differences and equivalences.
        equivalence_p: Of two one-sided t tests with the margin, likewise adjusted; None if seeds or margin give none.
        better: Name of the arm that is better; None if that is not decided.
        is_equivalent: Whether the difference is within the margin.
        seeds_to_decide: Number of seeds that would decide in 80 % of studies, if the true difference and spread are those
            that were measured; None if it is decided or cannot be computed.
        images: Differences by image; None without predictions.
        verdict: What may be concluded, in one sentence without its full stop.
    """

    first: str
    second: str
    seeds: tuple[str, ...]
    difference: Interval | None = None
    equivalence: Interval | None = None
    p: float | None = None
    p_adjusted: float | None = None
    equivalence_p: float | None = None
    better: str | None = None
    is_equivalent: bool = False
    seeds_to_decide: int | None = None
    images: ImagePairs | None = None
    verdict: str = ""

    @property
    def sentence(self) -> str:
        """The verdict with its full stop, unless it is a question."""
        return self.verdict if self.verdict.endswith("?") else f"{self.verdict}."


# Values of each arm by seed.
Values = Mapping[str, Mapping[Seed, float]]


def compare_seeds(one: str, other: str, values: Values, margin: float | None) -> PairSummary:
    """Compares two arms over seeds: paired by common seeds, else by Welch's method.

    Values are paired if at least two seeds, and half of those of the smaller arm, are in both. Runs whose seeds vary apart
    are not independent, and give no interval.

    Args:
        one: Name of the first arm.
        other: Name of the second.
        values: Of both arms, by name and seed.
        margin: The smallest difference that matters; None for no equivalence test.
    """
    first, second = values[one], values[other]
    if not (vary_together(first) and vary_together(second)):
        return PairSummary(one, other, ())
    common, smaller = [seed for seed in first if seed in second], min(len(first), len(second))
    if smaller < 2:
        return PairSummary(one, other, tuple(map(str, common)))
    is_paired = len(common) > 1 and 2 * len(common) >= smaller
    a, b = list(first.values()), list(second.values())
    if is_paired:
        a, b = [first[seed] for seed in common], [second[seed] for seed in common]
    intervals, test = (paired_difference, paired_p) if is_paired else (unpaired_difference, unpaired_p)
    pair = PairSummary(one, other, tuple(map(str, common)) if is_paired else ())
    difference = intervals(a, b)
    if difference.low == difference.high:
        return pair  # without spread over seeds, nothing can be computed
    pair = replace(pair, difference=difference, p=test(a, b))
    if margin is None:
        return pair
    equivalent = equivalence_p(np.subtract(b, a), margin) if is_paired else unpaired_equivalence_p(a, b, margin)
    return replace(pair, equivalence=intervals(a, b, confidence=1 - 2 * LEVEL), equivalence_p=equivalent)


def describe_left_out(pair: PairSummary, values: Values) -> str:
    """Which runs have no partner, in one sentence; empty if all have one, or nothing is compared over seeds."""
    first, second = len(values[pair.first]), len(values[pair.second])
    both = f"{pair.first} and {pair.second}"
    if pair.seeds and min(first, second) > 1 and (left := first + second - 2 * len(pair.seeds)):
        others = f"{left} other run{'s are' if left > 1 else ' is'} left out"
        return f"{both} are compared by their {len(pair.seeds)} common seeds; {others}"
    common = sum(seed in values[pair.second] for seed in values[pair.first])
    if pair.difference and not pair.seeds and common:
        only = f"only {common} of their seeds {'is' if common == 1 else 'are'} common"
        return f"{both} are compared without pairs: {only}, and {first + second - 2 * common} runs have no partner"
    return ""


def adjust(pairs: Sequence[PairSummary]) -> list[PairSummary]:
    """The same pairs with p values adjusted by Holm's method.

    Differences and equivalences are one family: "no difference" and "a difference of the margin or more" exclude each other,
    so that of both tests of a pair at most one can err. Tests of images are a family of their own.
    """
    tests = [pair.p for pair in pairs] + [pair.equivalence_p for pair in pairs]
    adjusted = _holm_of(tests, most_true=sum(pair.p is not None for pair in pairs))
    images = _holm_of([pair.images.p if pair.images else None for pair in pairs])
    return [
        replace(
            pair,
            p_adjusted=adjusted[index],
            equivalence_p=adjusted[len(pairs) + index],
            images=pair.images and replace(pair.images, p_adjusted=images[index]),
        )
        for index, pair in enumerate(pairs)
    ]


def _holm_of(p_values: Sequence[float | None], most_true: int | None = None) -> list[float | None]:
    adjusted = iter(holm([p for p in p_values if p is not None], most_true).tolist())
    return [None if p is None else next(adjusted) for p in p_values]
