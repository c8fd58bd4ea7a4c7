"""Comparison of arms: intervals, differences by seed and by image, and what may be concluded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from lit_cnn.analysis.arm_runs import ArmRun
from lit_cnn.analysis.arms import Arm
from lit_cnn.analysis.budget import Fairness, judge_fairness
from lit_cnn.analysis.comparability import check_comparable
from lit_cnn.analysis.conclusions import decide
from lit_cnn.analysis.images import accuracy_interval, find_problem, pair_images
from lit_cnn.analysis.pairs import MEASURES, Measure, PairSummary, adjust, compare_seeds, describe_left_out
from lit_cnn.analysis.seeds import Seed, vary_together
from lit_cnn.analysis.statistics import Interval, mean_interval
from lit_cnn.runs.monitor import describe_monitor

# Differences of shares that are smaller do not matter, in points.
DEFAULT_MARGIN = 0.5


@dataclass(frozen=True)
class ArmSummary:
    """The values of an arm.

    Args:
        name: Of the arm.
        folder: Of its runs.
        seeds: Of each run.
        values: Of each run.
        mean: Of the values.
        sd: Standard deviation over seeds; None for one seed, and for seeds that vary apart.
        interval: 95 % interval of the mean; None if there is none.
        interval_over: ``seeds``, or ``images`` for a single run.
        spread: Standard deviation by its source, where runs differ in one of the four seeds alone.
    """

    name: str
    folder: str
    seeds: tuple[str, ...]
    values: tuple[float, ...]
    mean: float
    sd: float | None
    interval: Interval | None
    interval_over: str
    spread: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` finds.

    Args:
        split: ``test`` or ``val``.
        metric: Name of the measure.
        margin: The smallest difference that matters, in the unit of the values; None for no equivalence test.
        arms: In the order in which they were given.
        pairs: Each arm with the first; or all pairs.
        fairness: Budgets and settings of the arms.
        notes: What was left out and why.
    """

    split: str
    metric: str
    margin: float | None
    arms: tuple[ArmSummary, ...]
    pairs: tuple[PairSummary, ...]
    fairness: Fairness
    notes: tuple[str, ...] = ()

    @property
    def measure(self) -> Measure:
        return MEASURES[self.metric]


def compare(
    arms: Sequence[Arm],
    split: str | None = None,
    metric: str = "acc",
    margin: float | None = None,
    all_pairs: bool = False,
    differ: Sequence[str] = (),
) -> Comparison:
    """Compares arms; the first one is the baseline.

    Args:
        arms: At least two.
        split: ``test`` or ``val``; the test images if all runs were tested, else the validation images.
        metric: A name of :data:`MEASURES`.
        margin: The smallest difference that matters, in points for shares; 0.5 points if not given, and none for a loss.
        all_pairs: Whether each pair of arms is compared, not only those with the baseline.
        differ: Settings in which arms are meant to differ, such as ``model.variant``.

    Raises:
        ValueError: If there are fewer than two arms, if the margin is not positive, if arms cannot be compared, or if a run
            was not evaluated.
    """
    measure = MEASURES[metric]
    if len(arms) < 2:
        raise ValueError(f"a comparison needs at least two arms, got {len(arms)}")
    if margin is not None and not margin > 0:
        raise ValueError(f"margin must be positive, got {margin:g}")
    margin = DEFAULT_MARGIN if margin is None and measure.is_share else margin
    margin = margin / 100 if margin is not None and measure.is_share else margin
    split = split or _common_split(arms, metric)
    values = {arm.name: {run.seed: _value(run, split, metric) for run in arm.runs} for arm in arms}
    pairs = list(combinations(arms, 2)) if all_pairs else [(arms[0], arm) for arm in arms[1:]]
    notes = check_comparable(arms, split)
    if split == "val":
        notes += [note] if (note := _describe_selection(arms, measure)) else []
    summaries = [compare_seeds(one.name, other.name, values, margin) for one, other in pairs]
    notes += [note for pair in summaries if (note := describe_left_out(pair, values))]
    if metric == "acc":
        for index, (one, other) in enumerate(pairs):
            images, note = pair_images(one, other, split)
            summaries[index] = replace(summaries[index], images=images)
            notes += [note] if note else []
    if len(pairs) > 1:
        notes.append(f"p values are corrected for {len(pairs)} pairs; intervals are not")
    summaries = adjust(summaries)
    summaries = [decide(pair, values, margin, measure, len(pairs)) for pair in summaries]
    return Comparison(
        split,
        metric,
        margin,
        tuple(_summarise(arm, values[arm.name], split, metric) for arm in arms),
        tuple(summaries),
        judge_fairness(arms, differ),
        tuple(dict.fromkeys(notes)),
    )


def _common_split(arms: Sequence[Arm], metric: str) -> str:
    tested = all(run.value("test", metric) is not None for arm in arms for run in arm.runs)
    return "test" if tested else "val"


def _value(run: ArmRun, split: str, metric: str) -> float:
    value = run.value(split, metric)
    if value is None:
        raise ValueError(f"{run.path} has no {split}/{metric}: measure it with {run.run.evaluation_command(split)}")
    if not math.isfinite(value):
        raise ValueError(
            f"{run.path} has a {split}/{metric} of {value}: its training diverged; leave it out, or train it again"
        )
    return value


def _describe_selection(arms: Sequence[Arm], measure: Measure) -> str:
    """A validation chose the epoch of the checkpoint: its score is too good, and more so the more epochs there were.

    Empty for a single epoch, and if the last one was taken whatever its score.
    """
    monitors = dict.fromkeys(run.monitor for arm in arms for run in arm.runs if run.monitor != "last")
    numbers = [len(run.metrics) for arm in arms for run in arm.runs]
    low, high = min(numbers), max(numbers)
    if high == 1 or not monitors:
        return ""
    epochs = f"{high} epochs" if low == high else f"{low} to {high} epochs"
    if measure.name == "acc" and list(monitors) == ["val/acc"]:
        return f"validation accuracies are the best of {epochs}, chosen on these images"
    reason = " or the ".join(map(describe_monitor, monitors))
    return f"the epochs are those with the {reason} of {epochs}, chosen on these images"


# Arms


def _summarise(arm: Arm, by_seed: Mapping[Seed, float], split: str, metric: str) -> ArmSummary:
    values = tuple(by_seed.values())
    over_seeds = len(values) > 1 and vary_together(by_seed)
    interval = mean_interval(values) if over_seeds else None
    if len(values) == 1 and metric == "acc" and not find_problem(arm.runs[0], split):
        interval = accuracy_interval(arm.runs[0].predictions(split))
    return ArmSummary(
        name=arm.name,
        folder=str(arm.path),
        seeds=tuple(map(str, by_seed)),
        values=values,
        mean=float(np.mean(values)),
        sd=float(np.std(values, ddof=1)) if over_seeds else None,
        interval=interval,
        interval_over="seeds" if len(values) > 1 else "images",
        spread=_spread(by_seed),
    )


def _spread(by_seed: Mapping[Seed, float]) -> dict[str, float]:
    """Standard deviation from each source alone: of runs that share the three other seeds, pooled over such groups.

    Source: Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks", arXiv:2103.03098, Sec. 2.
    """
    spread = {}
    for place, source in enumerate(Seed._fields):
        groups: dict[tuple[int, ...], list[float]] = {}
        for seed, value in by_seed.items():
            groups.setdefault(seed[:place] + seed[place + 1 :], []).append(value)
        repeated = [group for group in groups.values() if len(group) > 1]
        if repeated:
            squares = sum(float(np.var(group)) * len(group) for group in repeated)
            spread[source] = float(np.sqrt(squares / sum(len(group) - 1 for group in repeated)))
    return spread
