"""``lit-cnn find-lr``: finds a learning rate by a range test on a copy of the network."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from lit_cnn.commands.fit_options import check_picture, prepare_fit
from lit_cnn.commands.messages import quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.output import open_binary_output
from lit_cnn.commands.resuming import warn
from lit_cnn.system.memory import keep_freed_memory

DEFAULT_OUTPUT = "find_lr.png"
# Fewer steps show no curve.
LEAST_STEPS = 20


def make_parser() -> argparse.ArgumentParser:
    """The command's own options; all others are those of ``fit``."""
    parser = OneLineParser(
        prog="lit-cnn find-lr",
        usage="lit-cnn find-lr --config FILE [options of fit] [options]",
        description="Train a copy of the network while the learning rate rises, and suggest a rate (Smith 2017). "
        "Model, data and training are given as to lit-cnn fit; schedule, length and unfreeze_at have no effect. "
        "No run is made.",
        allow_abbrev=False,
    )
    parser.add_argument("--min_lr", type=float, default=1e-6, metavar="X", help="rate of the first step (default: 1e-6)")
    parser.add_argument("--max_lr", type=float, default=10.0, metavar="X", help="rate of the last step (default: 10)")
    parser.add_argument(
        "--num_steps", type=int, default=100, metavar="N", help="steps; fewer if the loss rises before (default: 100)"
    )
    parser.add_argument("--output", default=DEFAULT_OUTPUT, metavar="FILE", help=f"the plot (default: {DEFAULT_OUTPUT})")
    return parser


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn find-lr`` and returns the exit status."""
    parser = make_parser()
    options, words = parser.parse_known_args(arguments[1:])
    output = check_options(options)
    words = prepare_fit(words, f"find-lr trains a copy for {options.num_steps} steps and makes no run")

    # Imported only now: torch takes seconds, but --help and typos are answered at once.
    from lit_cnn.commands.cli import CLI
    from lit_cnn.commands.tables import print_table
    from lit_cnn.commands.trials import try_range
    from lit_cnn.training.range_test import find_lowest, smooth, suggest_rate

    quiet()
    keep_freed_memory()
    cli = CLI("fit", words)
    found = try_range(cli, "find-lr", options.min_lr, options.max_lr, options.num_steps)
    smoothed = smooth(found.losses)
    suggestion: float | None = None
    try:
        suggestion = suggest_rate(found.rates, found.losses)
    except ValueError as error:
        warn(str(error))
    draw(output, found.rates, found.losses, smoothed.tolist(), suggestion)
    lowest = find_lowest(smoothed)
    facts = [
        ("suggested learning rate", "none" if suggestion is None else f"{suggestion:g} (--model.lr {suggestion:g})"),
        ("lowest loss", f"{smoothed[lowest]:.4f} at {found.rates[lowest]:.3g} (smoothed)"),
        ("tried", f"{len(found.losses)} steps, from {found.rates[0]:.3g} to {found.rates[-1]:.3g}"),
        ("learning rate of the settings", f"{cli.model.hparams['lr']:g}"),
        ("plot", str(output)),
    ]
    print_table(("", ""), facts)
    return 0 if suggestion is not None else 1


def check_options(options: argparse.Namespace) -> Path:
    """Where the plot is written.

    Raises:
        ValueError: If an option is out of its range, or the plot cannot be written there.
    """
    if not (math.isfinite(options.max_lr) and 0 < options.min_lr < options.max_lr):
        raise ValueError(f"--min_lr must be above 0 and below --max_lr, got {options.min_lr:g} and {options.max_lr:g}")
    if options.num_steps < LEAST_STEPS:
        raise ValueError(f"--num_steps must be at least {LEAST_STEPS}, got {options.num_steps}")
    return check_picture(options.output)


def draw(path: Path, rates: list[float], losses: list[float], smoothed: list[float], suggestion: float | None) -> None:
    """Writes the plot."""
    from lit_cnn.analysis.rate_plot import draw_range_test

    with open_binary_output(path) as file:
        draw_range_test(rates, losses, smoothed, suggestion).savefig(file, format="png", dpi=150)
