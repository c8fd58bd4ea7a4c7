"""Tables on the screen."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lit_cnn.runs.ledger import Looks
from lit_cnn.system.text import printable

if TYPE_CHECKING:
    from lit_cnn.network.tta import Tta
    from lit_cnn.training.class_scores import ClassScores

# Wide enough for any row: a file or a pipe gets one line for each row.
WIDTH_OF_FILES = 10_000
# A column of text that is narrower is not readable.
LEAST_WIDTH = 4


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Collection[str] = ()) -> None:
    """Prints aligned columns, which wrap on a narrow terminal and are plain text in a file or a pipe.

    Args:
        columns: Titles; without any title, no header is printed.
        rows: A cell for each column. Cells are never read as markup; what would steer the terminal is escaped.
        right: Titles of the columns that are aligned to the right, for numbers.
    """
    rows = [[printable(str(cell)) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns))
    for title in columns:
        number = bool(title) and title in right
        table.add_column(Text(title), justify="right" if number else "left", overflow="fold", no_wrap=number)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(file=sys.stdout)
    numbers = [index for index, title in enumerate(columns) if title and title in right]
    widths = [
        max((len(row[index]) for row in rows), default=0) if index in numbers else LEAST_WIDTH
        for index in range(len(columns))
    ]
    if not sys.stdout.isatty() or console.width < sum(widths) + 2 * len(widths):
        console.width = WIDTH_OF_FILES  # a terminal that is too narrow for columns wraps the lines itself
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), flush=True)


def print_results(
    results: dict[str, float],
    checkpoint: str | Path | None,
    folder: Path | None,
    looks: Looks | None = None,
    scores: Mapping[str, ClassScores] | None = None,
    of_checkpoint: str | None = None,
    tta: Tta | None = None,
) -> None:
    """The table at the end of a command.

    Args:
        results: Values by name, as in ``test/acc``.
        checkpoint: The checkpoint that they are of.
        folder: Folder of the run.
        looks: Looks at the test images.
        scores: Numbers of images by class, by split; their recalls are shown if the classes are few, unequal or unlike.
        of_checkpoint: Which checkpoint of a training they are of: ``checkpoint with the highest accuracy``.
        tta: Test-time augmentation of the evaluation.
    """
    scores = scores or {}

    def share(name: str) -> str:
        return f"{results[name]:.2%}"

    rows: list[tuple[str, str]] = []
    if "test/acc" in results:
        interval = f"95 % interval {share('test/acc_low')} to {share('test/acc_high')}"
        rows.append(("test accuracy", f"{share('test/acc')} ({interval}, {results['test/images']:,.0f} images)"))
    if "test" in scores:
        rows += scores["test"].describe("test")
    if tta:
        from lit_cnn.network.tta import describe_tta  # imports torch, which other tables do not need

        rows.append(("test-time augmentation", describe_tta(tta)))
    if looks:
        rows.append(("looks at the test set", str(looks)))
    if "val/acc" in results:
        rows.append(("validation accuracy", share("val/acc") + (f" ({of_checkpoint})" if of_checkpoint else "")))
    if "val" in scores:
        rows += scores["val"].describe("validation", **({"num_recalls": 1} if "test" in scores else {}))
    for split, title in (("test", "test"), ("val", "validation")):
        for name, metric in (
            ("loss", "loss"),
            ("top5", "top-5 accuracy"),
            ("f1", "macro F1"),
            ("ece", "calibration error"),
        ):
            if f"{split}/{name}" in results:
                rows.append((f"{title} {metric}", f"{results[f'{split}/{name}']:.4f}"))
    if "train/images_per_s" in results:
        rows.append(("training speed", f"{results['train/images_per_s']:,.0f} images/s"))
    if "seconds" in results:
        rows.append(("training time", f"{results['seconds']:,.1f} s"))
    if checkpoint:
        rows.append(("checkpoint", str(checkpoint)))
    if folder:
        rows.append(("run folder", str(folder)))
    print()
    print_table(("", ""), rows)
