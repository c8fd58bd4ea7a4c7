"""``lit-cnn runs``: lists what was trained."""

from __future__ import annotations

from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.tables import print_table
from lit_cnn.runs.search import list_runs
from lit_cnn.runs.summary import summarise
from lit_cnn.system.memory import format_bytes

COLUMNS = ("run", "data", "network", "epochs", "val/acc", "test/acc", "looks", "size", "date")
NUMBERS = ("epochs", "val/acc", "test/acc", "looks", "size")


def main(arguments: list[str]) -> int:
    """Prints a table of the runs, newest first, and returns the exit status."""
    parser = OneLineParser(
        prog="lit-cnn runs", description="List the runs, newest first. Looks: how often the test images were looked at."
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="only runs whose row holds all of these words")
    parser.add_argument("--runs_dir", default="runs", help="folder of the runs (default: %(default)s)")
    options = parser.parse_args(arguments[1:])
    rows = []
    for run in list_runs(options.runs_dir):
        summary = summarise(run)
        row = (
            str(run.path),
            summary.dataset or "-",
            summary.variant or "-",
            f"{summary.epochs} (diverged)" if summary.diverged else str(summary.epochs),
            _share(summary.val_acc),
            _share(summary.test_acc),
            str(summary.looks),
            format_bytes(summary.num_bytes),
            f"{summary.date:%Y-%m-%d %H:%M}" if summary.date else "-",
        )
        if all(word.lower() in " ".join(row).lower() for word in options.words):
            rows.append(row)
    if not rows:
        wanted = f" with {' and '.join(options.words)}" if options.words else ""
        raise ValueError(f"{options.runs_dir} holds no run{wanted}; lit-cnn fit makes one")
    print_table(COLUMNS, rows, right=NUMBERS)
    return 0


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
