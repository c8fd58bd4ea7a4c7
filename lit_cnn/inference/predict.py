"""Classifies new images with a run: ``lit-cnn predict``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from lit_cnn.data.folder import SUFFIXES, FileImages, find_images
from lit_cnn.data.loader import Loader
from lit_cnn.inference.trained import Trained


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
