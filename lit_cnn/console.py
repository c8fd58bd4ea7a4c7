"""What the commands read from the command line and say on the screen."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from lit_cnn.run import Run

# Set to anything, errors come with their traceback.
DEBUG = "LIT_CNN_DEBUG"


def arguments_of_run(arguments: list[str]) -> list[str]:
    """Replaces nothing, adds what ``--run FOLDER`` stands for: its configuration, and the checkpoint to start from.

    Raises:
        ValueError: If the folder is not a run or has no such checkpoint.
    """
    folder = None
    for position, argument in enumerate(arguments):
        if argument.startswith("--run="):
            folder = argument.removeprefix("--run=")
        elif argument == "--run" and position + 1 < len(arguments):
            folder = arguments[position + 1]
    if folder is None or not arguments:
        return arguments
    command, *rest = arguments
    run = Run.open(folder)
    checkpoint = run.last if command == "fit" else run.best
    if not checkpoint.is_file():
        raise ValueError(f"the run {folder} has no checkpoint {checkpoint.relative_to(run.path)} yet")
    return [command, f"--config={run.config}", f"--ckpt_path={checkpoint}", *rest]


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with one line for what a user can mend; anything else keeps its traceback."""
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    try:
        yield
    except (ValueError, OSError, MisconfigurationException) as error:
        if os.environ.get(DEBUG):
            raise
        print(f"lit-cnn: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)


def explain(message: str) -> str:
    return message


def print_results(results: dict[str, float], checkpoint: str | Path | None, folder: Path | None) -> None:
    """The table at the end of a command."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))

    def share(name: str) -> str:
        return f"{results[name]:.2%}"

    if "test/acc" in results:
        interval = f"95 % interval {share('test/acc_low')} to {share('test/acc_high')}"
        table.add_row("test accuracy", f"{share('test/acc')}  ({interval}, {results['test/images']:,.0f} images)")
    if "val/acc" in results:
        table.add_row("validation accuracy", share("val/acc"))
    for split in ("test", "val"):
        for name, title in (("loss", "loss"), ("top5", "top-5"), ("f1", "macro F1"), ("ece", "calibration error")):
            if f"{split}/{name}" in results:
                table.add_row(f"{split} {title}", f"{results[f'{split}/{name}']:.4f}")
    if "train/images_per_s" in results:
        table.add_row("training speed", f"{results['train/images_per_s']:,.0f} images/s")
    if "seconds" in results:
        table.add_row("time", f"{results['seconds']:,.1f} s")
    if checkpoint:
        table.add_row("checkpoint", str(checkpoint))
    if folder:
        table.add_row("run folder", str(folder))
    # A path broken over two lines cannot be copied.
    Console(soft_wrap=True, highlight=False).print(table, crop=False, overflow="ignore", no_wrap=True)


def quiet() -> None:
    """Silences what the user can do nothing about."""
