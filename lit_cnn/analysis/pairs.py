"""Pairs of arms: differences by seed, Holm's method, and what may be concluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lit_cnn.analysis.arms import Seed
from lit_cnn.analysis.images import ImagePairs
from lit_cnn.analysis.statistics import (
    Interval,
    equivalence_p,
    holm,
    paired_difference,
    paired_p,
    seeds_for_equivalence,
    seeds_needed,
    unpaired_difference,
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
        return f"{100 * value:.2f} %" if self.is_share else f"{value:.4f}"

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
        seeds: Seeds of both arms, by which their values are paired; empty if they share none.
        difference: Mean difference with its 95 % interval over seeds; None if seeds give none.
        p: Of the paired t test; of Welch's, if no seed is shared.
        p_adjusted: By Holm's method over all pairs.
        equivalence_p: Of two one-sided t tests with the margin, likewise adjusted; None if seeds or margin give none.
        seeds_to_decide: Number of seeds that would decide in 80 % of studies, if the true difference and spread are those
            that were measured; None if it is decided or cannot be computed.
        images: Differences by image; None without predictions.
        verdict: What may be concluded, in one sentence.
    """

    first: str
    second: str
    seeds: tuple[str, ...]
    difference: Interval | None = None
    p: float | None = None
    p_adjusted: float | None = None
    equivalence_p: float | None = None
    seeds_to_decide: int | None = None
    images: ImagePairs | None = None
    verdict: str = ""


# Values of each arm by seed.
Values = Mapping[str, Mapping[Seed, float]]


def compare_seeds(one: str, other: str, values: Values, margin: float | None) -> PairSummary:
    """Compares two arms over seeds: paired by common seeds, else by Welch's method.

    Args:
        one: Name of the first arm.
        other: Name of the second.
        values: Of both arms, by name and seed.
        margin: The smallest difference that matters; None for no equivalence test.
    """
    first, second = values[one], values[other]
    common = [seed for seed in first if seed in second]
    pair = PairSummary(one, other, tuple(map(str, common)))
    a, b = [first[seed] for seed in common], [second[seed] for seed in common]
    equivalent = None
    if len(common) > 1:
        difference, p = paired_difference(a, b), paired_p(a, b)
        equivalent = equivalence_p(np.subtract(b, a), margin) if margin else None
    elif not common and min(len(first), len(second)) > 1:
        a, b = list(first.values()), list(second.values())
        difference, p = unpaired_difference(a, b), unpaired_p(a, b)
    else:
        return pair
    if difference.low == difference.high:
        return pair  # without spread over seeds, nothing can be computed
    return replace(pair, difference=difference, p=p, equivalence_p=equivalent)


def adjust(pairs: Sequence[PairSummary]) -> list[PairSummary]:
    """The same pairs with p values adjusted by Holm's method: of each test over the pairs that have it."""
    differences = _holm_of([pair.p for pair in pairs])
    equivalences = _holm_of([pair.equivalence_p for pair in pairs])
    images = _holm_of([pair.images.p if pair.images else None for pair in pairs])
    return [
        replace(
            pair,
            p_adjusted=differences[index],
            equivalence_p=equivalences[index],
            images=pair.images and replace(pair.images, p_adjusted=images[index]),
        )
        for index, pair in enumerate(pairs)
    ]


def _holm_of(p_values: Sequence[float | None]) -> list[float | None]:
    adjusted = iter(holm([p for p in p_values if p is not None]).tolist())
    return [None if p is None else next(adjusted) for p in p_values]


# Verdicts


def decide(pair: PairSummary, values: Values, margin: float | None, measure: Measure, num_pairs: int) -> PairSummary:
    """The same pair with its verdict, and the number of seeds that would decide if it is undecided.

    Args:
        pair: With adjusted p values.
        values: See :func:`compare_seeds`.
        margin: Likewise.
        measure: What is compared.
        num_pairs: Number of compared pairs.
    """
    if pair.difference is None or pair.p_adjusted is None:
        return replace(pair, verdict=_without_spread(pair, values, measure))
    first, second, seeds = pair.first, pair.second, _describe_seeds(pair, values)
    is_equivalent = pair.equivalence_p is not None and pair.equivalence_p < LEVEL
    within = f"±{measure.show_difference(margin, sign=False)}{measure.unit}" if margin else ""
    if pair.p_adjusted < LEVEL:
        difference = pair.difference
        if (difference.value > 0) != measure.higher_is_better:
            first, second = second, first
        ends = sorted((abs(difference.low), abs(difference.high)))
        size, low, high = (measure.show_difference(end, sign=False) for end in (abs(difference.value), *ends))
        verdict = f"{second} is better than {first} by {size}{measure.unit} (95 % interval {low} to {high}, {seeds})"
        verdict += f"; yet they are equivalent within {within}" if is_equivalent else ""
        if pair.images and pair.images.p_adjusted is not None and pair.images.p_adjusted >= LEVEL:
            verdict += f"; other images could decide otherwise (exact McNemar p = {pair.images.p_adjusted:.2g})"
        return replace(pair, verdict=verdict)
    interval = describe_interval(pair.difference, measure)
    if is_equivalent:
        verdict = f"{first} and {second} are equivalent within {within} (difference {interval}, {seeds})"
        return replace(pair, verdict=verdict)
    needed = _seeds_to_decide(pair, values, margin, num_pairs)
    corrected = f", p = {pair.p_adjusted:.2g} by Holm's method for {num_pairs} pairs" if pair.p and pair.p < LEVEL else ""
    verdict = f"{first} and {second} cannot be decided with {seeds} (difference {interval}{corrected})"
    verdict += f"; about {needed:,} would" if needed else ""
    return replace(pair, verdict=verdict, seeds_to_decide=needed)


def describe_interval(interval: Interval, measure: Measure) -> str:
    """A difference in words: ``+0.61 points, 95 % interval +0.35 to +0.87``."""
    value, low, high = (measure.show_difference(end) for end in (interval.value, interval.low, interval.high))
    return f"{value}{measure.unit}, 95 % interval {low} to {high}"


def _describe_seeds(pair: PairSummary, values: Values) -> str:
    if pair.seeds:
        return f"{len(pair.seeds)} seeds"
    return f"{len(values[pair.first])} and {len(values[pair.second])} seeds, none in common"


def _without_spread(pair: PairSummary, values: Values, measure: Measure) -> str:
    """What may be concluded where seeds give no interval."""
    first, second = values[pair.first], values[pair.second]
    if len(pair.seeds) > 1:
        seed = next(seed for seed in first if seed in second)
        difference = second[seed] - first[seed]
        with_each = f"with each of {len(pair.seeds)} seeds"
        if not difference:
            return f"{pair.first} and {pair.second} have the same {measure.title} {with_each}: do they differ at all?"
        return (
            f"{pair.second} and {pair.first} differ by {measure.show_difference(difference)}{measure.unit} {with_each}: "
            f"without spread, nothing can be decided; train more seeds"
        )
    number = "one seed" if pair.seeds or min(len(first), len(second)) == 1 else "no common seed"
    if pair.images is None:
        return f"{pair.first} and {pair.second} cannot be decided with {number}; train more seeds"
    interval, images = describe_interval(pair.images.difference, measure), f"{pair.images.num_images:,} images"
    return (
        f"the networks of {pair.first} and {pair.second} differ by {interval} over {images} "
        f"(exact McNemar p = {pair.images.p:.2g}); "
        f"one seed does not decide whether {pair.second} is better than {pair.first}: train more seeds"
    )


def _seeds_to_decide(pair: PairSummary, values: Values, margin: float | None, num_pairs: int) -> int | None:
    """The smaller of two numbers of seeds: with one a difference is found, with the other equivalence is shown.

    True difference and spread are taken to be the measured ones. The level is divided by the number of pairs, as for the
    smallest p value in Holm's method.
    """
    first, second = values[pair.first], values[pair.second]
    common = [seed for seed in first if seed in second]
    if common:
        sd = float(np.std([second[seed] - first[seed] for seed in common], ddof=1))
    else:  # of the difference of two independent seeds
        sd = float(np.sqrt(sum(np.var(list(arm.values()), ddof=1) for arm in (first, second))))
    difference, level = pair.difference.value if pair.difference else 0.0, LEVEL / num_pairs
    numbers = [seeds_needed(sd, difference, alpha=level)] if difference else []
    if margin and abs(difference) < margin and common:
        numbers.append(seeds_for_equivalence(sd, margin, difference, alpha=level))
    return max(min(numbers), len(common) + 1) if numbers else None
