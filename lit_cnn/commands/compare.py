"""``lit-cnn compare``: whether one arm is better than another. Imports nothing heavy before the arms are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lit_cnn.commands.messages import OneLineParser, quiet
from lit_cnn.commands.tables import print_table
from lit_cnn.system.text import printable, shorten_all

if TYPE_CHECKING:
    from lit_cnn.analysis.comparison import Comparison
    from lit_cnn.analysis.pairs import Measure
    from lit_cnn.analysis.statistics import Interval

# Columns of the name of an arm.
NAME_WIDTH = 28
EPILOG = """
An arm is a run, or a folder of runs that differ in the seed alone, as lit-cnn fit --seeds 5 makes it.
Tests over seeds decide which arm is better on these images. Tests over images ask the same for other images.
"""


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn compare`` and returns the exit status."""
    parser = OneLineParser(
        prog="lit-cnn compare", description="Compare arms over seeds and images; the first is the baseline.", epilog=EPILOG
    )
    parser.add_argument("arms", nargs="+", metavar="ARM", help="a run, or a folder of runs that differ in the seed alone")
    parser.add_argument("--split", choices=("test", "val"), help="default: test if all runs were tested, else val")
    parser.add_argument("--metric", choices=("acc", "f1", "loss"), default="acc", help="default: %(default)s")
    parser.add_argument(
        "--margin", type=float, help="the smallest difference that matters (default: 0.5 points; none for the loss)"
    )
    parser.add_argument(
        "--all_pairs", "--all-pairs", action="store_true", help="compare each pair, not only with the baseline"
    )
    parser.add_argument(
        "--differ", action="append", default=[], metavar="SETTING", help="a setting in which arms are meant to differ"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    options = parser.parse_args(arguments[1:])
    if len(options.arms) < 2:
        parser.error("a comparison needs at least two arms, got 1")
    quiet()
    from lit_cnn.analysis.arms import read_arms
    from lit_cnn.analysis.comparison import compare

    arms = read_arms(options.arms)
    comparison = compare(arms, options.split, options.metric, options.margin, options.all_pairs, options.differ)
    if options.format == "json":
        print(json.dumps(asdict(comparison), indent=2, ensure_ascii=False))
    else:
        print_comparison(comparison)
    return 0


def print_comparison(comparison: Comparison) -> None:
    """Prints tables of arms, pairs, budgets and settings, and what may be concluded."""
    measure = comparison.measure
    full = [arm.name for arm in comparison.arms]
    names = dict(zip(full, shorten_all(full, NAME_WIDTH), strict=True))
    images = "test" if comparison.split == "test" else "validation"
    print(f"{measure.title} on the {images} images\n")
    print_table(ARM_COLUMNS, _arm_rows(comparison, names), ARM_NUMBERS)
    sources = list(dict.fromkeys(source for arm in comparison.arms for source in arm.spread))
    if sources:
        print()
        print_table(("sd by", *sources), _spread_rows(comparison, names, sources), sources)
    print()
    print_table(PAIR_COLUMNS, _pair_rows(comparison, names), PAIR_NUMBERS)
    if any(pair.images for pair in comparison.pairs):
        print()
        print_table(IMAGE_COLUMNS, _image_rows(comparison, names), IMAGE_NUMBERS)
    print()
    print_table(BUDGET_COLUMNS, _budget_rows(comparison, names), BUDGET_COLUMNS[1:-1])
    print()
    for difference in comparison.fairness.differences:
        values = ", ".join(f"{names[arm]}: {value}" for arm, value in zip(full, difference.values, strict=True))
        print(printable(f"{difference.setting} differs ({values})"))
    if not comparison.fairness.differences:
        print("no setting differs")
    if comparison.fairness.same_budget:
        print("the budgets are the same")
    for warning in comparison.fairness.warnings:
        print(printable(f"warning: {warning}"))
    for note in comparison.notes:
        print(printable(f"note: {note}"))
    print()
    for pair in comparison.pairs:
        print(printable(f"{pair.verdict}."))


ARM_NUMBERS = ("runs", "mean", "sd")
ARM_COLUMNS = ("arm", *ARM_NUMBERS, "95 % interval of the mean")


def _arm_rows(comparison: Comparison, names: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    measure = comparison.measure
    for arm in comparison.arms:
        interval = _ends(arm.interval, measure) if arm.interval else "-"
        over = " over images only" if arm.interval and arm.interval_over == "images" else ""
        sd = "-" if arm.sd is None else measure.show_difference(arm.sd, sign=False)
        yield names[arm.name], len(arm.values), measure.show(arm.mean), sd, interval + over


def _spread_rows(comparison: Comparison, names: dict[str, str], sources: list[str]) -> Iterator[tuple[str, ...]]:
    for arm in comparison.arms:
        shown = {source: comparison.measure.show_difference(sd, sign=False) for source, sd in arm.spread.items()}
        yield names[arm.name], *(shown.get(source, "-") for source in sources)


PAIR_NUMBERS = ("seeds", "difference", "p", "Holm's p", "equivalence p", "seeds to decide")
PAIR_COLUMNS = ("by seed", "seeds", "difference", "95 % interval", *PAIR_NUMBERS[2:])


def _pair_rows(comparison: Comparison, names: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    measure = comparison.measure
    for pair in comparison.pairs:
        yield (
            f"{names[pair.second]} − {names[pair.first]}",
            len(pair.seeds),
            measure.show_difference(pair.difference.value) if pair.difference else "-",
            _ends(pair.difference, measure, sign=True) if pair.difference else "-",
            _probability(pair.p),
            _probability(pair.p_adjusted),
            _probability(pair.equivalence_p),
            pair.seeds_to_decide or "-",
        )


IMAGE_NUMBERS = ("images", "difference", "p", "Holm's p", "only the first", "only the second")
IMAGE_COLUMNS = ("by image", "images", "difference", "95 % interval", *IMAGE_NUMBERS[2:])


def _image_rows(comparison: Comparison, names: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    for pair in comparison.pairs:
        if pair.images is None:
            continue
        yield (
            f"{names[pair.second]} − {names[pair.first]}",
            f"{pair.images.num_images:,}",
            comparison.measure.show_difference(pair.images.difference.value),
            _ends(pair.images.difference, comparison.measure, sign=True),
            _probability(pair.images.p),
            _probability(pair.images.p_adjusted),
            _range(pair.images.only_first),
            _range(pair.images.only_second),
        )


BUDGET_COLUMNS = ("budget", "epochs", "images seen", "multiply-adds", "seconds", "rates tried", "device")


def _budget_rows(comparison: Comparison, names: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    for budget in comparison.fairness.budgets:
        yield (
            names[budget.arm],
            f"{budget.epochs:g}",
            "-" if budget.images is None else f"{budget.images:,.0f}",
            "-" if budget.multiply_adds is None else f"{budget.multiply_adds:.3g}",
            "-" if budget.seconds is None else f"{budget.seconds:,.1f}",
            budget.rates,
            budget.device,
        )


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
