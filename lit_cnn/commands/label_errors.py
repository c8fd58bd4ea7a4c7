"""``lit-cnn label-errors``: finds images that are likely to have a wrong label."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from lit_cnn.commands.messages import quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.output import check_output, check_page, is_replaced, open_output, write_page
from lit_cnn.commands.resuming import warn
from lit_cnn.runs.search import find_run, is_run
from lit_cnn.system.extras import require_extra
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.system.paths import expand

FILE_NAME = "label_errors.html"
COLUMNS = ("file", "label", "suggested", "probability_of_label", "probability_of_suggested")
MAX_FOLDS = 20
MAX_IMAGES = 1000
EPILOG = """
The recipe of the run is trained once for each fold, so that each image is classified by a network that was not trained on
it. The same command skips finished folds and resumes a stopped one. They lie in the folder of the run, in folds/.
"""


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = OneLineParser(
        prog="lit-cnn label-errors",
        description="Find training images that are likely to have a wrong label. No test image is looked at.",
        epilog=EPILOG,
    )
    parser.add_argument("--run", required=True, help="folder of the run, or latest")
    parser.add_argument("--folds", type=int, help="number of folds (default: 5)")
    parser.add_argument(
        "--from",
        nargs="+",
        action="extend",
        dest="finished",
        metavar="RUN",
        help="finished runs of all folds (--data.num_folds, --data.fold)",
    )
    parser.add_argument(
        "--output", help=f"page to write (default: {FILE_NAME} in the folder of the run); a table is written beside it"
    )
    parser.add_argument(
        "--num_images", type=int, default=100, help="so many images on the page; 0 for none (default: %(default)s)"
    )
    parser.add_argument("--runs_dir", default="runs", help="folder of the runs, for latest (default: %(default)s)")
    return parser


def _check_outputs(page: Path, table: Path) -> None:
    """Refuses to replace a file that is no page and no table of this command.

    Raises:
        ValueError: See :func:`~lit_cnn.commands.output.check_page`.
    """
    check_page(page)
    check_output(table)
    if page.name != FILE_NAME and is_run(page.resolve().parent):
        raise ValueError(f"--output {page} is in the folder of a run, among its own files: name another folder")
    if is_replaced(table) and table.exists():
        with table.open(encoding="utf-8", errors="replace") as file:
            header = file.readline()
            if header and header.rstrip("\n") != ",".join(COLUMNS):
                raise ValueError(f"{table} is another table, which would be replaced: give another --output")


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn label-errors`` and returns the exit status."""
    options = make_parser().parse_args(arguments[1:])
    quiet()
    keep_freed_memory()
    if options.finished and options.folds is not None:
        raise ValueError("--from names the runs of all folds: leave out --folds")
    number = 5 if options.folds is None else options.folds
    if not 2 <= number <= MAX_FOLDS:
        raise ValueError(f"--folds must be from 2 to {MAX_FOLDS}, got {number}")
    if not 0 <= options.num_images <= MAX_IMAGES:
        raise ValueError(f"--num_images must be from 0 to {MAX_IMAGES}, got {options.num_images}")
    run = find_run(options.run, expand(options.runs_dir))
    output = run.path / FILE_NAME if options.output is None else expand(options.output)
    table = output.with_suffix(".csv")
    _check_outputs(output, table)
    finished = [find_run(path, expand(options.runs_dir)) for path in options.finished or ()]
    require_extra("labels", "lit-cnn label-errors")

    # Imported only now: torch takes seconds, but --help and typos are answered at once.
    from lit_cnn.analysis.label_errors import Folds, find_label_errors, rows_of, write_label_errors
    from lit_cnn.commands.folds import own_weights, train_folds

    quiet()  # again: Lightning sets the level of its messages when it is imported
    for own in finished:
        if weights := own_weights(own):
            warn(f"{own.path} started from {weights}: its answers are of use only if these were not trained on its images")
    folds = Folds.read(finished or train_folds(run, number), run)
    errors = find_label_errors(folds)
    with open_output(table) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows_of(folds, errors))
    write_page(output, write_label_errors(run, folds, errors, options.num_images, table))
    print(f"the networks of the folds are right for {100 * folds.accuracy:.1f} % of their images")
    print(f"{len(errors):,} of {folds.num_images:,} images are likely to have a wrong label")
    print(output)
    print(table)
    return 0
