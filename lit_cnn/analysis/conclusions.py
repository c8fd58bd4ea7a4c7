"""What may be concluded from a pair of arms, in one sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lit_cnn.analysis.images import ImagePairs
from lit_cnn.analysis.pairs import LEVEL, Measure, PairSummary, Values
from lit_cnn.analysis.seeds import Seed, fixed_sources, vary_together
from lit_cnn.analysis.statistics import Interval, seeds_for_equivalence, seeds_needed

# A larger number of seeds is not shown: its spread is not known that well.
MOST_SHOWN = 1000


def decide(pair: PairSummary, values: Values, margin: float | None, measure: Measure, num_pairs: int) -> PairSummary:
    """The same pair with its verdict, and the number of seeds that would decide if it is undecided.

    Args:
        pair: With adjusted p values.
        values: See :func:`lit_cnn.analysis.pairs.compare_seeds`.
        margin: Likewise.
        measure: What is compared.
        num_pairs: Number of compared pairs.
    """
    if pair.difference is None or pair.p_adjusted is None:
        return replace(pair, verdict=_without_interval(pair, values, measure))
    first, second, seeds = pair.first, pair.second, _describe_seeds(pair, values)
    alone = _describe_fixed(pair, values)
    is_equivalent = pair.equivalence_p is not None and pair.equivalence_p < LEVEL
    within = f"±{measure.show_difference(margin, sign=False)}{measure.unit}" if margin else ""
    if pair.p_adjusted < LEVEL:
        difference = pair.difference
        if (difference.value > 0) != measure.higher_is_better:
            first, second = second, first
        ends = sorted((abs(difference.low), abs(difference.high)))
        size, low, high = (measure.show_difference(end, sign=False) for end in (abs(difference.value), *ends))
        verdict = f"{second} is better than {first} by {size}{measure.unit} (95 % interval {low} to {high}, {seeds})"
        if is_equivalent and pair.equivalence:
            interval = _describe_ends(pair.equivalence, measure, 90)
            verdict += f"; yet they are equivalent within {within} ({interval})"
        verdict += _describe_images(pair.images, difference)
        return replace(pair, verdict=verdict + alone, better=second, is_equivalent=is_equivalent)
    if is_equivalent and pair.equivalence:
        interval = describe_interval(pair.equivalence, measure, 90)
        verdict = f"{first} and {second} are equivalent within {within} (difference {interval}, {seeds})"
        return replace(pair, verdict=verdict + alone, is_equivalent=True)
    interval = describe_interval(pair.difference, measure)
    needed = _seeds_to_decide(pair, values, margin, num_pairs)
    corrected = f", p = {pair.p_adjusted:.2g} by Holm's method for {num_pairs} pairs" if pair.p and pair.p < LEVEL else ""
    verdict = f"{first} and {second} cannot be decided with {seeds} (difference {interval}{corrected})"
    verdict += f"; {'' if needed > MOST_SHOWN else 'about '}{show_seeds(needed)} would" if needed else ""
    return replace(pair, verdict=verdict + alone, seeds_to_decide=needed)


def describe_interval(interval: Interval, measure: Measure, percent: int = 95) -> str:
    """A difference in words: ``+0.61 points, 95 % interval +0.35 to +0.87``."""
    return f"{measure.show_difference(interval.value)}{measure.unit}, {_describe_ends(interval, measure, percent)}"


def show_seeds(number: int) -> str:
    """A number of seeds: ``12``, ``more than 1,000``."""
    return f"more than {MOST_SHOWN:,}" if number > MOST_SHOWN else f"{number:,}"


def _describe_ends(interval: Interval, measure: Measure, percent: int) -> str:
    low, high = (measure.show_difference(end) for end in (interval.low, interval.high))
    return f"{percent} % interval {low} to {high}"


def _describe_seeds(pair: PairSummary, values: Values) -> str:
    if pair.seeds:
        return f"{len(pair.seeds)} seeds"
    first, second = values[pair.first], values[pair.second]
    common = sum(seed in second for seed in first)
    return f"{len(first)} and {len(second)} seeds, {common or 'none'} in common"


def _describe_fixed(pair: PairSummary, values: Values) -> str:
    """``; for this order and split alone``, where these were the same in all runs of an arm."""
    fixed = {source for name in (pair.first, pair.second) for source in fixed_sources(values[name])}
    *others, last = [source for source in Seed._fields if source in fixed] or [""]
    return f"; for this {', '.join(others)}{' and ' if others else ''}{last} alone" if last else ""


def _describe_images(images: ImagePairs | None, difference: Interval) -> str:
    """What a test over images says against a difference over seeds; nothing if it agrees."""
    if images is None or images.p_adjusted is None:
        return ""
    p = f"(exact McNemar p = {images.p_adjusted:.2g})"
    if images.p_adjusted >= LEVEL:
        return f"; other images could decide otherwise {p}"
    if (images.difference.value > 0) == (difference.value > 0):
        return ""
    seeds = f"seed{'' if len(images.seeds) == 1 else 's'} {', '.join(images.seeds)}"
    return f"; yet the networks of {seeds} differ the other way {p}"


def _without_interval(pair: PairSummary, values: Values, measure: Measure) -> str:
    """What may be concluded where seeds give no interval."""
    first, second = values[pair.first], values[pair.second]
    apart = [name for name in (pair.first, pair.second) if not vary_together(values[name])]
    if apart:
        return (
            f"{pair.first} and {pair.second} are not decided: {' and '.join(apart)} varied seeds apart, which shows "
            f"the spread by source alone; train seeds that vary together"
        )
    number = len(pair.seeds) or min(len(first), len(second))
    if number > 1:
        difference = float(np.mean(list(second.values())) - np.mean(list(first.values())))
        if pair.seeds:
            seed = next(seed for seed in first if seed in second)
            difference = second[seed] - first[seed]
        with_each = f"with each of {number} seeds"
        if not difference:
            return f"{pair.first} and {pair.second} have the same {measure.title} {with_each}: do they differ at all?"
        return (
            f"{pair.second} and {pair.first} differ by {measure.show_difference(difference)}{measure.unit} {with_each}: "
            f"without spread, nothing can be decided; train more seeds"
        )
    if pair.images is None:
        return f"{pair.first} and {pair.second} cannot be decided with one seed; train more seeds"
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
    if pair.seeds:
        sd = float(np.std([second[seed] - first[seed] for seed in first if seed in second], ddof=1))
        number = len(pair.seeds)
    else:  # of the difference of two independent seeds
        sd = float(np.sqrt(sum(np.var(list(arm.values()), ddof=1) for arm in (first, second))))
        number = min(len(first), len(second))
    difference, level = pair.difference.value if pair.difference else 0.0, LEVEL / num_pairs
    numbers = [seeds_needed(sd, difference, alpha=level)] if difference else []
    if margin and abs(difference) < margin:
        numbers.append(seeds_for_equivalence(sd, margin, difference, alpha=level))
    return max(min(numbers), number + 1) if numbers else None
