"""From the measures of a study to a verdict, by the rules that its file fixed before."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from lit_cnn.analysis.statistics import Interval, equivalence_p, mean_interval, seeds_for_equivalence, seeds_needed
from lit_cnn.claims.design import Question

ALPHA = 0.05
# Stands for the seed of what is counted, not measured.
COUNTED = -1
# With fewer seeds, equal differences may be chance.
MIN_EQUAL = 5
# A measure by arm and seed.
Values = Mapping[str, Mapping[int, float | None]]


class Verdict(Enum):
    """What a study decides of a statement, at its scale."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    OPEN = "not yet run"


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Args:
        question: The question.
        interval: Of the contrast, 95 %; with the scale ``log``, of the ratio. None if values are missing.
        verdict: What follows.
        n: Number of seeds, or of rounds of a timing.
        seeds_needed: Seeds that would decide with a power of 80 %, if the verdict is inconclusive and that can be computed.
        missing: Why there is no interval.
        num_bounds: How many of the values are only known to be at least as large: a threshold that was not reached.
        num_values: Number of all values.
        is_timed: Whether the values are rounds of a timing, not seeds.
        num_upper_bounds: How many are only known to be at most as large: a threshold that was reached at once.
    """

    question: Question
    interval: Interval | None
    verdict: Verdict
    n: int
    seeds_needed: int | None = None
    missing: str = ""
    num_bounds: int = 0
    num_values: int = 0
    is_timed: bool = False
    num_upper_bounds: int = 0


def answer(
    question: Question,
    values: Values,
    bounds: Mapping[str, Collection[int]] | None = None,
    untrained: Sequence[str] = (),
    reasons: Mapping[str, str] | None = None,
    num_deciding: int = 1,
    upper_bounds: Mapping[str, Collection[int]] | None = None,
) -> Answer:
    """Decides a question.

    ``above t`` is refuted if the 95 % interval lies below t + margin, even if it lies above t: such an effect is smaller
    than what matters. Otherwise it is supported if the interval lies above t. ``below`` is its mirror. ``within ±t`` is
    supported if two one-sided tests reject at 5 %, and refuted if the 95 % interval lies outside. With ``log``, t is a ratio
    and the margin is a share: refuted below t · (1 + margin).

    If a statement has k deciding questions, one refutes it only with an interval of 1 − 0.05 / k (Bonferroni): if all its
    parts are true, it is refuted in at most 5 % of studies. Support needs all of them and no correction, since each must
    reject at 5 %: Berger 1982, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24, 295–300.

    Measured differences that are all equal have no spread; at least :data:`MIN_EQUAL` of them decide. A verdict that the
    unknown size of a bound could overturn is inconclusive.

    Args:
        question: The question.
        values: For each arm, the measure by seed; None where it is missing.
        bounds: For each arm, the seeds whose value is a lower bound.
        untrained: Arms that no rate of the grid trains.
        reasons: For arms, what is wrong with the seeds that have no value.
        num_deciding: Number k of the questions that decide on the statement.
        upper_bounds: For each arm, the seeds whose value is an upper bound.
    """
    arms = question.contrast
    if untrained:
        return Answer(question, None, Verdict.INCONCLUSIVE, 0, missing=f"no rate of the grid trains {', '.join(untrained)}")
    common = sorted(set.intersection(*(set(values.get(arm, {})) for arm in arms)))
    if not common:
        return Answer(question, None, Verdict.OPEN, 0, missing="no seed is finished in every arm")
    known: dict[str, list[float]] = {}
    for arm in arms:
        column = [values[arm][seed] for seed in common]
        known[arm] = [value for value in column if value is not None]
        if len(known[arm]) < len(common):
            reason = (reasons or {}).get(arm, "has no value")
            text = f"{arm} {reason} with {len(common) - len(known[arm])} of {len(common)} seeds"
            return Answer(question, None, Verdict.INCONCLUSIVE, len(known[arm]), missing=text)
        if question.scale == "log" and min(known[arm]) <= 0:
            text = f"{arm} has a value of {min(known[arm]):g}, which has no ratio"
            return Answer(question, None, Verdict.INCONCLUSIVE, len(common), missing=text)
    if len(common) == 1 and not _is_exact(values, arms):
        return Answer(question, None, Verdict.OPEN, 1, missing="one seed gives no interval over seeds")
    log = question.scale == "log"
    contrast = np.zeros(len(common))
    for arm, weight in arms.items():
        contrast += weight * (np.log(known[arm]) if log else np.array(known[arm], dtype=float))
    threshold = math.log(question.threshold) if log else question.threshold
    margin = math.log1p(question.margin) if log else question.margin
    alpha = ALPHA / (num_deciding if question.decides else 1)
    interval, wider = _interval(contrast, ALPHA), _interval(contrast, alpha)
    constant = interval.low == interval.high
    if constant and len(common) < MIN_EQUAL and not _is_exact(values, arms):
        value = math.exp(interval.value) if log else interval.value
        text = f"{len(common)} equal {question.unit}s of {value:.4g} have no spread"
        return Answer(question, None, Verdict.INCONCLUSIVE, len(common), missing=text)
    verdict = _decide(question, contrast, interval, wider, threshold, margin)
    lower, upper = ({arm: len(set((of or {}).get(arm, ())) & set(common)) for arm in arms} for of in (bounds, upper_bounds))
    # Where the contrast may move, if a value is larger than its lower bound or smaller than its upper one.
    moves = [*(arms[arm] for arm in arms if lower[arm]), *(-arms[arm] for arm in arms if upper[arm])]
    if not _holds_with_bounds(question, verdict, interval, moves):
        verdict = Verdict.INCONCLUSIVE
    needed = None
    if verdict is Verdict.INCONCLUSIVE and not moves:
        needed = _seeds(question, contrast, threshold, margin, alpha)
    if log:
        interval = Interval(*(math.exp(end) for end in (interval.value, interval.low, interval.high)))
    num_values = len(common) * len(arms)
    return Answer(
        question, interval, verdict, len(common), needed, num_bounds=sum(lower.values()), num_values=num_values,
        num_upper_bounds=sum(upper.values()),
    )  # fmt: skip


def _holds_with_bounds(question: Question, verdict: Verdict, interval: Interval, moves: Sequence[float]) -> bool:
    """Whether a verdict holds however far the contrast moves in these directions."""
    may_rise, may_fall = any(move > 0 for move in moves), any(move < 0 for move in moves)
    if verdict is Verdict.INCONCLUSIVE:
        return True
    if question.expect == "within":
        if verdict is Verdict.SUPPORTED:
            return not moves
        return not (may_fall if interval.value > 0 else may_rise)
    is_high = (question.expect == "above") == (verdict is Verdict.SUPPORTED)
    return not (may_fall if is_high else may_rise)


def _is_exact(values: Values, arms: Mapping[str, float]) -> bool:
    """Whether a value is counted and not measured: numbers of parameters have no seed."""
    return all(set(values[arm]) == {COUNTED} for arm in arms)


def _interval(contrast: np.ndarray, alpha: float) -> Interval:
    """Of the mean; a single value is counted, and has no spread."""
    return mean_interval(contrast, 1 - alpha) if len(contrast) > 1 else Interval(*[float(contrast[0])] * 3)


def _decide(
    question: Question, contrast: np.ndarray, interval: Interval, wider: Interval, threshold: float, margin: float
) -> Verdict:
    if question.expect == "within":
        inside = -threshold < interval.low and interval.high < threshold
        if inside if interval.low == interval.high else equivalence_p(contrast, threshold) < ALPHA:
            return Verdict.SUPPORTED
        return Verdict.REFUTED if wider.low > threshold or wider.high < -threshold else Verdict.INCONCLUSIVE
    is_above = question.expect == "above"
    low, high, highest = (
        (interval.low - threshold, interval.high - threshold, wider.high - threshold)
        if is_above
        else (threshold - interval.high, threshold - interval.low, threshold - wider.low)
    )
    if highest < margin:
        return Verdict.REFUTED
    return Verdict.SUPPORTED if low > 0 and high >= margin else Verdict.INCONCLUSIVE


def _seeds(question: Question, contrast: np.ndarray, threshold: float, margin: float, alpha: float) -> int | None:
    """Seeds that would decide with 80 % power, if the effect is the one that was measured; alpha is of a refutation."""
    sd, mean = float(contrast.std(ddof=1)) if len(contrast) > 1 else 0.0, float(contrast.mean())
    if not sd:
        return None
    if question.expect == "within":
        distance = abs(mean)
        if distance < threshold:
            return seeds_for_equivalence(sd, threshold, mean)
        return seeds_needed(sd, distance - threshold, alpha=alpha) if distance > threshold else None
    sign = 1 if question.expect == "above" else -1
    effect = sign * (mean - threshold)
    # An effect between 0 and the margin can be shown to be above the one or below the other.
    reachable = [(distance, level) for distance, level in ((effect, ALPHA), (margin - effect, alpha)) if distance > 0]
    return min((seeds_needed(sd, distance, alpha=level) for distance, level in reachable), default=None)


def combine(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a statement of several parts: supported if all are, refuted if one is."""
    if not verdicts or Verdict.OPEN in verdicts:
        return Verdict.OPEN
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED
    return Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else Verdict.SUPPORTED
