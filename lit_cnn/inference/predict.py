"""Classifies new images with a run: ``lit-cnn predict``."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from lit_cnn.commands.messages import one_line_errors, quiet
from lit_cnn.data.folder import SUFFIXES, FileImages, find_images
from lit_cnn.data.loader import Loader
from lit_cnn.inference.trained import Trained, load_pretrained, load_trained
from lit_cnn.runs.folder import Run
from lit_cnn.system.memory import keep_freed_memory


class Prediction(NamedTuple):
    """The likeliest class of an image file."""

    file: Path
    class_name: str
    probability: float


def predict(trained: Trained, images: str | Path, batch_size: int = 64) -> Iterator[Prediction]:
    """Classifies every image below a folder, or one image file, on the fastest device that there is.

    Args:
        trained: What :func:`lit_cnn.inference.trained.load_trained` returns.
        images: The folder or the file.
        batch_size: Images at a time.

    Raises:
        ValueError: If there is no image, or one cannot be decoded; names it.
    """
    images = Path(images)
    paths = [images] if images.is_file() else find_images(images)
    if not paths:
        raise ValueError(f"{images} holds no image ({', '.join(SUFFIXES)})")
    files = FileImages(paths, torch.zeros(len(paths), dtype=torch.long), trained.native_size, trained.channels)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    classifier = trained.classifier.to(device)
    with torch.inference_mode():
        for batch in Loader(files, batch_size, shuffle=False, num_workers=os.cpu_count() or 1):
            pixels = trained.preprocessing(batch.images.to(device))
            probabilities, classes = classifier(pixels).float().softmax(dim=1).max(dim=1)
            for position, probability, index in zip(
                batch.positions.tolist(), probabilities.tolist(), classes.tolist(), strict=True
            ):
                yield Prediction(paths[position], trained.class_names[index], probability)


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
