"""``lit-cnn show-batch``: draws training images as they are stored, and what the network sees of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lit_cnn.commands.fit_options import check_picture, prepare_fit
from lit_cnn.commands.messages import quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.output import open_binary_output

if TYPE_CHECKING:
    from lit_cnn.commands.cli import CLI
    from lit_cnn.data.loader import Batch

DEFAULT_OUTPUT = "batch.png"


def make_parser() -> argparse.ArgumentParser:
    """The command's own options; all others are those of ``fit``."""
    parser = OneLineParser(
        prog="lit-cnn show-batch",
        usage="lit-cnn show-batch --config FILE [options of fit] [options]",
        description="Draw the first images of the first batch of a training: as they are stored, and as the network sees "
        "them after augmentation. Model, data and training are given as to lit-cnn fit. Nothing is trained.",
        allow_abbrev=False,
    )
    parser.add_argument("--num_images", type=int, default=8, metavar="N", help="images in the picture (default: 8)")
    parser.add_argument("--epoch", type=int, default=0, metavar="N", help="epoch, from 0, whose batch it is (default: 0)")
    parser.add_argument("--output", default=DEFAULT_OUTPUT, metavar="FILE", help=f"the picture (default: {DEFAULT_OUTPUT})")
    return parser


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn show-batch`` and returns the exit status."""
    options, words = make_parser().parse_known_args(arguments[1:])
    output = check_options(options)
    words = prepare_fit(words, "show-batch trains nothing and makes no run")

    # Imported only now: torch takes seconds, but --help and typos are answered at once.
    from lit_cnn.commands.cli import CLI
    from lit_cnn.system.text import printable
    from lit_cnn.training.callbacks.introduction import describe_augmentation

    quiet()
    cli = CLI("fit", words)
    stored, seen = first_batch(cli, options.epoch)
    number = min(options.num_images, len(stored.labels))
    draw(output, cli, stored, seen, number)
    images = f"{number} image{'s' if number > 1 else ''}"
    print(f"{images} of epoch {options.epoch} of {printable(cli.datamodule.name)}: {output}")
    print(f"augmentation: {describe_augmentation(cli.datamodule)}")
    return 0


def check_options(options: argparse.Namespace) -> Path:
    """Where the picture is written.

    Raises:
        ValueError: If an option is out of its range, or the picture cannot be written there.
    """
    if options.num_images < 1:
        raise ValueError(f"--num_images must be at least 1, got {options.num_images}")
    if options.epoch < 0:
        raise ValueError(f"--epoch must be at least 0, got {options.epoch}")
    return check_picture(options.output)


def first_batch(cli: CLI, epoch: int) -> tuple[Batch, Batch]:
    """The first batch of an epoch as it is stored, and as the network gets it: of one process, with all its images.

    Raises:
        ValueError: If data and network do not fit, or the training neither shuffles nor augments images.
    """
    from lit_cnn.training.compatibility import compare_with_data

    data = cli.datamodule
    if cli.config.trainer.overfit_batches:
        raise ValueError(
            "with trainer.overfit_batches, images are neither shuffled nor augmented: leave it out to draw a batch"
        )
    data.prepare_data()
    data.setup("fit")
    compare_with_data(cli.model, data, "validate")
    data.normalise_with(cli.model.normalisation)
    loader = data.train_dataloader()
    loader.epoch = lambda: epoch
    stored = next(iter(loader))
    return stored, data.on_after_batch_transfer(stored, 0)


def draw(path: Path, cli: CLI, stored: Batch, seen: Batch, number: int) -> None:
    """Writes the picture."""
    from PIL import Image

    from lit_cnn.training.figures import draw_seen

    picture = draw_seen(cli.datamodule, stored.images, seen, number)
    with open_binary_output(path) as file:
        Image.fromarray(picture).save(file, format="png")
