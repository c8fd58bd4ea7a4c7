"""``lit-cnn report``: writes all that is known of a run on one HTML page."""

from __future__ import annotations

import argparse

from lit_cnn.commands.messages import quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.output import check_page, write_page
from lit_cnn.runs.search import find_run
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.system.paths import expand

FILE_NAME = "report.html"


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = OneLineParser(
        prog="lit-cnn report",
        description="Write what is known of a run on one HTML page that needs no other file. Nothing is evaluated anew.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of the run, or latest")
    parser.add_argument("--output", help=f"file to write (default: {FILE_NAME} in the folder of the run)")
    parser.add_argument(
        "--num_images", type=int, default=12, help="so many of the worst and of the uncertain images (default: %(default)s)"
    )
    parser.add_argument("--runs_dir", default="runs", help="folder of the runs, for latest (default: %(default)s)")
    return parser


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn report`` and returns the exit status."""
    options = make_parser().parse_args(arguments[1:])
    quiet()
    keep_freed_memory()
    run = find_run(options.run, expand(options.runs_dir))
    output = run.path / FILE_NAME if options.output is None else expand(options.output)
    check_page(output)

    # Imported only now: torch takes seconds, but --help and typos are answered at once.
    from lit_cnn.analysis.report import write_report

    write_page(output, write_report(run, options.num_images))
    print(output)
    return 0
