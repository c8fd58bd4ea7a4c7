"""Image files: found below a folder, decoded when they are needed."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from lit_cnn.data.cache import digest_of, mapped
from lit_cnn.data.preprocess import DECODING, read_image
from lit_cnn.data.splits import ArrayImages

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def find_images(folder: Path) -> list[Path]:
    """All files below a folder whose names end as those of images do, sorted. Hidden files and folders are left out.

    Raises:
        ValueError: If the folder does not exist.
    """
    if not folder.is_dir():
        raise ValueError(f"the folder {folder} does not exist")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def decoding_errors(paths: Sequence[Path], image_size: int) -> dict[Path, str]:
    """Decodes every file; the errors of those that cannot be decoded."""

    def error_of(path: Path) -> str | None:
        try:
            read_image(path, image_size, 3)
        except ValueError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        errors = workers.map(error_of, paths)
        return {path: error for path, error in zip(paths, errors, strict=True) if error}


class FileImages:
    """Image files that are decoded when they are asked for.

    Args:
        paths: The files.
        labels: Class of each, (N,).
        image_size: Height and width after decoding, in pixels.
        channels: 1 for grey, 3 for colour.
    """

    def __init__(self, paths: Sequence[Path], labels: Tensor, image_size: int, channels: int) -> None:
        self.paths = list(paths)
        self.labels = labels
        self.image_size = image_size
        self.channels = channels

    def fetch(self, positions: Tensor) -> Tensor:
        return torch.stack([self._decode(self.paths[i]) for i in positions.tolist()])

    def _decode(self, path: Path) -> Tensor:
        try:
            return read_image(path, self.image_size, self.channels)
        except ValueError as error:
            raise ValueError(f"{error}; --data.on_bad_image skip leaves such files out") from error

    def name(self, position: int) -> str:
        return str(self.paths[position])

    @property
    def num_bytes(self) -> int:
        """Size of all images when decoded."""
        return math.prod(self.shape)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of all images as one tensor, (N, C, H, W)."""
        return len(self.paths), self.channels, self.image_size, self.image_size

    def decode_into(self, pixels: Tensor) -> None:
        """Decodes all files into a uint8 tensor of :attr:`shape`."""

        def decode(position: int) -> None:
            pixels[position] = self._decode(self.paths[position])

        with ThreadPoolExecutor(os.cpu_count()) as workers:
            deque(workers.map(decode, range(len(self.paths))), maxlen=0)

    def in_memory(self) -> ArrayImages:
        """Decodes all files once and keeps the pixels in memory."""
        pixels = torch.empty(self.shape, dtype=torch.uint8)
        self.decode_into(pixels)
        return ArrayImages(pixels, self.labels, tuple(map(str, self.paths)))

    def in_file(self, folder: Path, name: str) -> ArrayImages | None:
        """Decodes all files once for all runs, see :func:`lit_cnn.data.cache.mapped`; None if the folder has no room."""
        pixels = mapped(folder, name, digest_of(self.paths, DECODING, self.shape), self.shape, self.decode_into)
        return None if pixels is None else ArrayImages(pixels, self.labels, tuple(map(str, self.paths)))
