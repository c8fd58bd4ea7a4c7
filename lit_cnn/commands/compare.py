"""``lit-cnn compare``: whether one arm is better than another. Imports nothing heavy before the arms are read."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from lit_cnn.commands.messages import quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.output import check_page, write_page
from lit_cnn.commands.tables import print_table
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.system.paths import expand
from lit_cnn.system.text import printable

if TYPE_CHECKING:
    from lit_cnn.analysis.comparison import Comparison

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
        "--margin",
        type=float,
        help="the smallest difference that matters: in points (default: 0.5); of a loss in its own unit (default: none)",
    )
    parser.add_argument(
        "--all_pairs", "--all-pairs", action="store_true", help="compare each pair, not only with the baseline"
    )
    parser.add_argument(
        "--differ", action="append", default=[], metavar="SETTING", help="a setting in which arms are meant to differ"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    parser.add_argument("--output", metavar="FILE.html", help="also write a page with figures and images")
    options = parser.parse_args(arguments[1:])
    if len(options.arms) < 2:
        parser.error("a comparison needs at least two arms, got 1")
    quiet()
    output = None if options.output is None else expand(options.output)
    if output is not None:
        check_page(output)
    from lit_cnn.analysis.arms import read_arms
    from lit_cnn.analysis.comparison import compare

    arms = read_arms(options.arms)
    comparison = compare(arms, options.split, options.metric, options.margin, options.all_pairs, options.differ)
    if options.format == "json":
        print(json.dumps(asdict(comparison), indent=2, ensure_ascii=False))
    else:
        print_comparison(comparison)
    if output is not None:
        from lit_cnn.analysis.compare_page import write_comparison  # imports torch

        keep_freed_memory()
        write_page(output, write_comparison(arms, comparison))
        if options.format == "text":
            print(f"\n{output}")
    return 0


def print_comparison(comparison: Comparison) -> None:
    """Prints tables of arms, pairs, budgets and settings, and what may be concluded."""
    from lit_cnn.analysis.compare_tables import TABLES, name_arms

    full = [arm.name for arm in comparison.arms]
    names = name_arms(full, NAME_WIDTH)
    images = "test" if comparison.split == "test" else "validation"
    print(f"{comparison.measure.title} on the {images} images\n")
    for tabulate in TABLES:
        if table := tabulate(comparison, names):
            print_table(*table)
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
        print(printable(pair.sentence))
