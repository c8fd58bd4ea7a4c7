"""``lit-cnn leaderboard``: what the recipes reach beside the figures of others. Imports neither torch nor Lightning."""

from __future__ import annotations

from pathlib import Path

from lit_cnn.benchmark.leaderboard import Board, read_boards
from lit_cnn.benchmark.leaderboard_page import (
    PAGE,
    describe_accuracy,
    describe_own,
    describe_unmeasured,
    measure_command,
    write_texts,
)
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.output import write_page
from lit_cnn.commands.tables import print_table

COLUMNS = ("recipe", "network", "parameters", "test accuracy", "seeds", "epochs", "training", "images/s")
OTHERS = ("others", "test accuracy", "here", "source", "remark")
WARNING = "Figures of others were often chosen on the test set. Here, each training looks at it once, at its end."


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn leaderboard`` and returns the exit status."""
    parser = OneLineParser(
        prog="lit-cnn leaderboard",
        description="Print what the recipes reach on each dataset, the best first, beside the figures of others.",
    )
    parser.add_argument("--dataset", help="only this one: a folder of experiments/")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE} and the '# Expected:' line of each recipe")
    options = parser.parse_args(arguments[1:])
    if options.write and options.dataset:
        parser.error("--write writes the page of all datasets: leave out --dataset")
    if options.write:
        _write(Path())
    else:
        for number, board in enumerate(read_boards(Path(), options.dataset)):
            print("\n" * (number > 0), end="")
            print_board(board)
        print(f"\n{WARNING}")
    return 0


def _write(root: Path) -> None:
    texts = write_texts(root)
    if not (root / PAGE).parent.is_dir():
        raise ValueError(f"there is no folder for {PAGE}: change to the folder of lit_cnn")
    for path, text in texts.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_page(path, text)
            print(f"changed {path.relative_to(root)}")


def print_board(board: Board) -> None:
    """Prints the tables of a dataset."""
    print(board.title)
    rows = [
        (
            recipe.name + (f", EPOCHS={recipe.measured.epochs}" if recipe.measured.epochs_given else ""),
            recipe.network,
            f"{recipe.measured.parameters:,}" if recipe.measured.parameters else "",
            describe_accuracy(recipe.measured, board.label),
            len(recipe.measured.seeds),
            recipe.measured.epochs,
            f"{recipe.measured.seconds:,.0f} s",
            f"{recipe.measured.images_per_s:,.0f}",
        )
        for recipe in board.recipes
        if recipe.measured
    ]
    if rows:
        print_table(COLUMNS, rows, right=COLUMNS[2:])
    if board.unmeasured:
        print(describe_unmeasured(board))
        print(f"  {measure_command(board.unmeasured)}")
    if board.references:
        print()
        others = []
        for figure in board.references:
            here = describe_own(board, figure)
            others.append((figure.network, f"{figure.accuracy:.2f} %", here, figure.source, figure.remark))
        print_table(OTHERS, others, right=OTHERS[1:3])
