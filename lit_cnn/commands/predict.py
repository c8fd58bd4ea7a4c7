"""``lit-cnn predict``: classifies new images."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from lit_cnn.commands.messages import one_line_errors, quiet
from lit_cnn.inference.predict import predict
from lit_cnn.inference.trained import load_pretrained, load_trained
from lit_cnn.runs.folder import Run
from lit_cnn.system.memory import keep_freed_memory


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn predict`` and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="lit-cnn predict",
        description="Classify images with a run's best checkpoint, with the run's preprocessing and class names.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", help="folder of the run")
    source.add_argument("--config", help="the run's config.yaml: the same as --run with the folder that holds it")
    source.add_argument("--ckpt_path", help="a checkpoint file, wherever it lies")
    source.add_argument("--model", help="a network with torchvision's weights and ImageNet's classes, for example resnet50")
    parser.add_argument("--weights", help="which of torchvision's weights (default: the best)")
    parser.add_argument("--images", required=True, help="folder of images, or one image file")
    parser.add_argument("--output", default="predictions.csv", help="file to write (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=64, help="images at a time (default: %(default)s)")
    options = parser.parse_args(arguments[1:])
    quiet()
    keep_freed_memory()
    with one_line_errors():
        if not options.images:
            raise ValueError("which images? --images FOLDER")
        if not Path(options.output).absolute().parent.is_dir():
            raise ValueError(f"there is no folder for the output {options.output}")
        if options.weights and not options.model:
            raise ValueError("--weights belong to a --model; a run and a checkpoint have their own")
        if options.model:
            trained = load_pretrained(options.model, options.weights or "DEFAULT")
        elif options.ckpt_path:
            trained = load_trained(options.ckpt_path)
        else:
            run = Run.open(options.run or Path(options.config).parent)
            trained = load_trained(run.checkpoint or run.best)
        predictions = list(predict(trained, options.images, options.batch_size))
        with Path(options.output).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("file", "class", "probability"))
            writer.writerows((path, name, f"{probability:.6f}") for path, name, probability in predictions)
        print(f"{len(predictions)} predictions in {options.output}", file=sys.stderr)
    return 0
