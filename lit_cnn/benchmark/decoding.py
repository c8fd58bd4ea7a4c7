"""How fast JPEGs become uint8 pixels of one size: as ``lit-cnn`` decodes them, and in two other ways."""

from __future__ import annotations

import os
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from lit_cnn.analysis.provenance import Report
from lit_cnn.data.formats import FORMATS
from lit_cnn.data.reading import read_image

# Images of 256 to 500 pixels a side become images of these sizes: Pillow decodes them at a quarter or half of their scale.
IMAGE_SIZES = (64, 128)
NUM_WARM_UP = 50


def decode_whole(path: Path, image_size: int) -> Tensor:
    """As :func:`lit_cnn.data.preprocess.read_image`, but decodes the JPEG at its full size."""
    with Image.open(path, formats=FORMATS) as file:
        image = ImageOps.exif_transpose(file)
    square = ImageOps.fit(image.convert("RGB"), (image_size, image_size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def decode_with_torchvision(path: Path, image_size: int) -> Tensor:
    """Decodes at full size with ``torchvision.io``, and resizes with torchvision."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file  # deprecated since torchvision 0.29

    image = decode_jpeg(read_file(str(path)), ImageReadMode.RGB, apply_exif_orientation=True)
    square = transforms.center_crop(image, [min(image.shape[-2:])] * 2)
    return transforms.resize(square, [image_size, image_size], antialias=True)


OURS = "Pillow, at the scale needed"
WAYS: dict[str, Callable[..., Tensor]] = {
    OURS: partial(read_image, channels=3),
    "Pillow, at full size": decode_whole,
    "torchvision.io": decode_with_torchvision,
}


def measure_decoding(
    paths: list[Path], repeats: int, report: Report
) -> dict[str, dict[str, dict[str, float | list[float]]]]:
    """Decodes all files in each way, round after round, with one thread for each processor, as ``lit-cnn`` does.

    Returns:
        By size and way, the images per second of every round. ``gain`` is the speed of ``lit-cnn`` divided by the speed of
        the way: the median of the ratios of each round.
    """
    measured: dict[str, dict[str, dict[str, float | list[float]]]] = {}
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # each image has its own thread; resizing one is too little work to share
    try:
        for image_size in IMAGE_SIZES:
            speeds: dict[str, list[float]] = {way: [] for way in WAYS}
            for decode in WAYS.values():
                _images_per_s(decode, paths[:NUM_WARM_UP], image_size)
            for number in range(repeats):
                for way, decode in WAYS.items():
                    speeds[way].append(_images_per_s(decode, paths, image_size))
                    speed = f"{speeds[way][-1]:,.0f} images/s"
                    report(f"{image_size}×{image_size}, round {number + 1} of {repeats}: {way}, {speed}")
            measured[str(image_size)] = {
                way: {
                    "images_per_s": rounds,
                    "gain": statistics.median(own / other for own, other in zip(speeds[OURS], rounds, strict=True)),
                }
                for way, rounds in speeds.items()
            }
    finally:
        torch.set_num_threads(num_threads)
    return measured


def _images_per_s(decode: Callable[..., Tensor], paths: list[Path], image_size: int) -> float:
    with ThreadPoolExecutor(os.cpu_count()) as workers, warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The image decoding and encoding capabilities of TorchVision are deprecated", DeprecationWarning
        )
        began = time.perf_counter()
        for pixels in workers.map(partial(decode, image_size=image_size), paths):
            assert pixels.shape == (3, image_size, image_size)
        return len(paths) / (time.perf_counter() - began)
