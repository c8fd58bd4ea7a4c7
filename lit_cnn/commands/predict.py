"""``lit-cnn predict``: classifies new images."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from lit_cnn.commands.messages import OneLineParser, quiet
from lit_cnn.data.rows import is_table
from lit_cnn.network.catalogue import find_in_catalogue
from lit_cnn.runs.search import find_run
from lit_cnn.system.memory import keep_freed_memory


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
    parser.add_argument("--weights", help="name of torchvision's weights (default: the best)")
    parser.add_argument("--images", required=True, help="folder of images, one image file, or a table with a column path")
    parser.add_argument("--data_dir", help="folder that the paths in a table are relative to (default: the table's)")
    parser.add_argument("--output", default="predictions.csv", help="file to write (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=64, help="images at a time (default: %(default)s)")
    return parser


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn predict`` and returns the exit status."""
    options = make_parser().parse_args(arguments[1:])
    quiet()
    keep_freed_memory()
    if not options.images:
        raise ValueError("which images? --images FOLDER")
    if not Path(options.output).absolute().parent.is_dir():
        raise ValueError(f"there is no folder for the output {options.output}")
    if Path(options.output).exists() and Path(options.images).exists() and Path(options.output).samefile(options.images):
        raise ValueError(f"--output {options.output} would replace the images")
    if options.data_dir and not is_table(Path(options.images)):
        raise ValueError("--data_dir is where the paths in a table begin, but --images is no table")
    if options.weights and not options.model:
        raise ValueError("--weights belong to a --model; a run and a checkpoint have their own")
    path = options.ckpt_path
    if options.run or options.config:
        path = find_run(options.run or options.config).path
    variant = find_in_catalogue(options.model)[0] if options.model else None
    if not Path(options.images).exists():
        raise ValueError(f"there is no file or folder {options.images}")

    # Imported only now: torch takes seconds, but --help and typos are answered at once.
    from lit_cnn.inference.inputs import GivenImages, list_table
    from lit_cnn.inference.trained import load_pretrained, load_run

    trained = load_pretrained(variant, options.weights or "DEFAULT") if variant else load_run(path)
    given = list_table(Path(options.images), Path(options.data_dir)) if options.data_dir else options.images
    images = GivenImages(given, trained.native_size, trained.channels)
    rows = [(p.file, p.class_name, f"{p.probability:.6f}") for p in trained.predict_each(images, options.batch_size)]
    with Path(options.output).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "class", "probability"))
        writer.writerows(rows)
    print(f"{len(rows)} predictions in {options.output}", file=sys.stderr)
    return 0
