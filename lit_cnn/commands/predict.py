"""``lit-cnn predict``: classifies new images."""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lit_cnn.commands.messages import OneLineParser, in_one_line, quiet
from lit_cnn.commands.output import check_output, is_replaced, open_output
from lit_cnn.commands.resuming import warn
from lit_cnn.data.rows import is_table
from lit_cnn.network.catalogue import find_in_catalogue
from lit_cnn.runs.search import find_run, is_run
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.system.paths import expand

if TYPE_CHECKING:
    from lit_cnn.inference.inputs import GivenImages
    from lit_cnn.inference.trained import Trained

# So many files that cannot be read are named.
NUM_NAMED = 5


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = OneLineParser(
        prog="lit-cnn predict",
        description="Classify images with a run's best checkpoint, its preprocessing and its class names.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", help="folder of the run, or latest")
    source.add_argument("--config", help="config.yaml of the run: the same as --run with its folder")
    source.add_argument("--ckpt_path", help="a checkpoint file, in any folder")
    source.add_argument("--model", help="a variant with torchvision's weights and ImageNet's classes, for example resnet50")
    parser.add_argument("--runs_dir", default="runs", help="folder of the runs, for --run latest (default: %(default)s)")
    parser.add_argument("--weights", help="name of torchvision's weights (default: the best)")
    parser.add_argument("--images", required=True, help="folder of images, one image file, or a table with a column path")
    parser.add_argument("--data_dir", help="folder that the paths in a table are relative to (default: the table's)")
    parser.add_argument("--output", default="predictions.csv", help="file to write, or - to print (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=64, help="images at a time (default: %(default)s)")
    parser.add_argument(
        "--on_bad_image",
        choices=("error", "skip"),
        default="error",
        help="what to do with a file that cannot be decoded: stop, or leave it out (default: %(default)s)",
    )
    return parser


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn predict`` and returns the exit status: 1 if no image could be classified."""
    options = make_parser().parse_args(arguments[1:])
    quiet()
    keep_freed_memory()
    if not options.images:
        raise ValueError("which images? --images FOLDER")
    for name in ("run", "config", "ckpt_path", "model", "runs_dir", "output"):
        if getattr(options, name) == "":
            raise ValueError(f"--{name} is empty: give a value, or leave it out")
    images = expand(options.images)
    output = None if options.output == "-" else expand(options.output)
    if output:
        check_output(output)
    if options.batch_size < 1:
        raise ValueError(f"--batch_size must be at least 1, got {options.batch_size}")
    if options.data_dir and not is_table(images):
        raise ValueError("--data_dir is where the paths in a table begin, but --images is no table")
    if options.weights and not options.model:
        raise ValueError("--weights belong to a --model; a run and a checkpoint have their own")
    path = options.ckpt_path
    if options.run or options.config:
        path = find_run(options.run or options.config, expand(options.runs_dir)).path
    variant = find_in_catalogue(options.model)[0] if options.model else None
    if not images.exists():
        raise ValueError(f"there is no file or folder {images}")

    # Imported only now: torch takes seconds, but --help and typos are answered at once.
    from lit_cnn.inference.inputs import GivenImages, list_table
    from lit_cnn.inference.labels import find_labels
    from lit_cnn.inference.trained import load_pretrained, load_run

    skip = options.on_bad_image == "skip"
    if output:
        _check_replaced(output, [images, *([expand(path)] if path else [])])
    trained = load_pretrained(variant, options.weights or "DEFAULT") if variant else load_run(path)
    files = images
    if is_table(images):
        files = list_table(images, expand(options.data_dir) if options.data_dir else None, must_exist=not skip)
    given = GivenImages(files, trained.reading, skip_bad=skip)
    if output:
        _check_replaced(output, given.items)
    labels = find_labels(images, given.items, trained.class_names)
    with open_output(output) as file:
        began = time.perf_counter()
        classes = _write_rows(file, trained, given, labels, options.batch_size)
        seconds = time.perf_counter() - began
        _name_bad_images(list(given.bad.values()))
        if not classes:
            raise OSError(f"none of {len(given.items):,} images can be classified")
    place = f" in {output}" if output else ""
    print(f"{len(classes):,} predictions{place} ({len(given.items) / seconds:,.0f} images/s)", file=sys.stderr)
    _print_accuracy(classes, labels, trained.class_names)
    return 0


def _check_replaced(output: Path, inputs: Iterable[Path]) -> None:
    """Refuses an output that would replace what is read, an image, a checkpoint, or a file of a run.

    Raises:
        ValueError: If it is one of ``inputs``, has the ending of an image or of a checkpoint, or lies in a run's folder.
    """
    from lit_cnn.data.formats import SUFFIXES
    from lit_cnn.data.scan import PICTURES

    if not is_replaced(output):
        return
    target = Path(os.path.realpath(output))
    ending = target.suffix.lower()
    if ending in {".ckpt", *SUFFIXES, *PICTURES}:
        what = "a checkpoint" if ending == ".ckpt" else "an image"
        raise ValueError(f"--output {output} has the name of {what}: name a file that ends with .csv")
    if run := next((parent for parent in target.parents if is_run(parent)), None):
        raise ValueError(f"--output {output} is in the folder of the run {run}: name a file elsewhere")
    if target.is_file():
        replaced = target.stat()
        for path in inputs:
            with contextlib.suppress(OSError):  # there is no such file
                if os.path.samestat(replaced, path.stat()):
                    raise ValueError(f"--output {output} would replace {path}, which is read: name another file")


def _write_rows(
    file: TextIO, trained: Trained, given: GivenImages, labels: list[str | None], batch_size: int
) -> dict[int, str]:
    """Writes a row for each image as it is classified, and returns the classes by position."""
    from lit_cnn.inference.inputs import UnreadableImageError

    has_labels = any(labels)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("file", "class", "probability", *(["label"] if has_labels else [])))
    classes: dict[int, str] = {}
    positions = (position for position in range(len(given.items)) if position not in given.bad)
    try:
        with progress_of("classifying", len(given.items)) as advance:
            for prediction in trained.predict_each(given, batch_size):
                position = next(positions)
                row = (prediction.file, prediction.class_name, f"{prediction.probability:.6f}")
                writer.writerow((*row, labels[position]) if has_labels else row)
                classes[position] = prediction.class_name
                advance(position + 1)
    except UnreadableImageError as error:
        raise ValueError(f"{error}; --on_bad_image skip leaves out such files") from error
    return classes


def _name_bad_images(reasons: list[str]) -> None:
    for reason in reasons[:NUM_NAMED]:
        warn(f"left out: {in_one_line(reason)}")
    if len(reasons) > NUM_NAMED:
        warn(f"left out: {len(reasons) - NUM_NAMED:,} more files that cannot be read")


def _print_accuracy(classes: dict[int, str], labels: list[str | None], class_names: tuple[str, ...]) -> None:
    """Prints how many predictions agree with the labels that the images bring with them."""
    from lit_cnn.inference.labels import describe_agreement

    labelled = [(name, labels[position]) for position, name in classes.items() if labels[position]]
    known = [pair for pair in labelled if pair[1] in class_names]
    if labelled:
        print(describe_agreement(known, len(labelled) - len(known)), file=sys.stderr)


@contextlib.contextmanager
def progress_of(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while images are classified; nothing if that is no terminal.

    Yields:
        Tells the bar how many images are done.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)
