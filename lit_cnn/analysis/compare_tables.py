"""The tables of a comparison, for the screen and for pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lit_cnn.analysis.comparison import Comparison
from lit_cnn.analysis.conclusions import show_seeds
from lit_cnn.analysis.pairs import Measure, PairSummary
from lit_cnn.analysis.statistics import Interval
from lit_cnn.analysis.table import Table
from lit_cnn.system.text import printable, shorten, shorten_all, width

# Columns of a setting with which its name and value are told.
LEAST_WIDTH = 10
# What an arm is called in a table.
Names = Mapping[str, str]


def tabulate_arms(comparison: Comparison, names: Names) -> Table:
    """Runs, mean, spread and interval of each arm."""
    measure, numbers = comparison.measure, ("runs", "mean", "sd")
    rows = []
    for arm in comparison.arms:
        interval = _ends(arm.interval, measure) if arm.interval else "-"
        over = " over images only" if arm.interval and arm.interval_over == "images" else ""
        sd = "-" if arm.sd is None else measure.show_difference(arm.sd, sign=False)
        rows.append((names[arm.name], len(arm.values), measure.show(arm.mean), sd, interval + over))
    return Table(("arm", *numbers, "95 % interval of the mean"), rows, numbers)


def tabulate_spread(comparison: Comparison, names: Names) -> Table | None:
    """Standard deviation by source; None if no arm varies one seed alone."""
    sources = list(dict.fromkeys(source for arm in comparison.arms for source in arm.spread))
    rows = []
    for arm in comparison.arms:
        shown = {source: comparison.measure.show_difference(sd, sign=False) for source, sd in arm.spread.items()}
        rows.append((names[arm.name], *(shown.get(source, "-") for source in sources)))
    return Table(("sd by", *sources), rows, sources) if sources else None


def tabulate_pairs(comparison: Comparison, names: Names) -> Table:
    """Differences over seeds."""
    measure, numbers = comparison.measure, ("seeds", "difference", "p", "Holm's p", "equivalence p", "seeds to decide")
    rows = [
        (
            name_pair(pair, names),
            _describe_seeds(pair, comparison),
            measure.show_difference(pair.difference.value) if pair.difference else "-",
            _ends(pair.difference, measure, sign=True) if pair.difference else "-",
            _probability(pair.p),
            _probability(pair.p_adjusted),
            _probability(pair.equivalence_p),
            show_seeds(pair.seeds_to_decide) if pair.seeds_to_decide else "-",
        )
        for pair in comparison.pairs
    ]
    return Table(("by seed", "seeds", "difference", "95 % interval", *numbers[2:]), rows, numbers)


def tabulate_images(comparison: Comparison, names: Names) -> Table | None:
    """Differences over images; None if no pair is compared by image."""
    measure, numbers = comparison.measure, ("images", "difference", "p", "Holm's p", "only the first", "only the second")
    rows = [
        (
            name_pair(pair, names),
            f"{pair.images.num_images:,}",
            measure.show_difference(pair.images.difference.value),
            _ends(pair.images.difference, measure, sign=True),
            _probability(pair.images.p),
            _probability(pair.images.p_adjusted),
            _range(pair.images.only_first),
            _range(pair.images.only_second),
        )
        for pair in comparison.pairs
        if pair.images
    ]
    return Table(("by image", "images", "difference", "95 % interval", *numbers[2:]), rows, numbers) if rows else None


def tabulate_budgets(comparison: Comparison, names: Names) -> Table:
    """What each arm had."""
    columns = ("budget", "epochs", "images seen", "multiply-adds", "seconds", "rates tried", "device")
    rows = [
        (
            names[budget.arm],
            f"{budget.epochs:g}",
            "-" if budget.images is None else f"{budget.images:,.0f}",
            "-" if budget.multiply_adds is None else f"{budget.multiply_adds:.3g}",
            "-" if budget.seconds is None else f"{budget.seconds:,.1f}",
            f"at least {budget.rates}",
            budget.device,
        )
        for budget in comparison.fairness.budgets
    ]
    return Table(columns, rows, columns[1:-1])


def name_arms(names: Sequence[str], limit: int) -> Names:
    """What each arm is called in few columns. A name that is made of settings keeps a part of each of them.

    Args:
        names: Of the arms.
        limit: Columns that each takes at most.
    """
    texts = [printable(name) for name in names]
    shown = shorten_all([_shorten_settings(text, limit) for text in texts], limit)
    if len(set(shown)) < len(set(texts)):
        shown = shorten_all(texts, limit)
    return dict(zip(names, shown, strict=True))


def _shorten_settings(text: str, limit: int) -> str:
    parts = text.split(", ")
    room = limit // len(parts) - len(", ")
    if width(text) <= limit or len(parts) == 1 or room < LEAST_WIDTH:
        return text
    return ", ".join(shorten(part, room) for part in parts)


def name_pair(pair: PairSummary, names: Names) -> str:
    """What a difference is called."""
    return f"{names[pair.second]} − {names[pair.first]}"


def _describe_seeds(pair: PairSummary, comparison: Comparison) -> str:
    """Number of pairs; of runs of both arms, if they are not paired."""
    if pair.seeds or pair.difference is None:
        return str(len(pair.seeds))
    numbers = {arm.name: len(arm.values) for arm in comparison.arms}
    return f"{numbers[pair.first]} and {numbers[pair.second]}"


def _ends(interval: Interval, measure: Measure, sign: bool = False) -> str:
    if sign:
        return f"{measure.show_difference(interval.low)} to {measure.show_difference(interval.high)}"
    return f"{measure.show(interval.low)} to {measure.show(interval.high)}"


def _probability(p: float | None) -> str:
    return "-" if p is None else "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _range(numbers: tuple[int, ...]) -> str:
    """The smallest and the largest number of images over seeds."""
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


# All of them, in the order in which they are printed.
TABLES = (tabulate_arms, tabulate_spread, tabulate_pairs, tabulate_images, tabulate_budgets)
