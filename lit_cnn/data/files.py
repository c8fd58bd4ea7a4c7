"""Image files that are decoded when they are needed."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import PIL
import torch
from torch import Tensor

from lit_cnn.data.cache import mapped
from lit_cnn.data.reading import DECODING, Reading
from lit_cnn.data.splits import ArrayImages
from lit_cnn.system.processors import usable_processors


class FileImages:
    """Image files that are decoded when they are asked for.

    Args:
        files: Paths of the files.
        labels: Class of each, (N,).
        reading: How a file becomes pixels.
        digests: Digest of the content of each file, if they are to be decoded into a file.
    """

    def __init__(self, files: Sequence[str], labels: Tensor, reading: Reading, digests: Sequence[str] = ()) -> None:
        self.files = files
        self.labels = labels
        self.reading = reading
        self.digests = digests

    def fetch(self, positions: Tensor) -> Tensor:
        return torch.stack([self._decode(i) for i in positions.tolist()])

    def _decode(self, position: int) -> Tensor:
        try:
            return self.reading.read(Path(self.files[position]))
        except ValueError as error:
            raise ValueError(f"{error}; --data.on_bad_image skip leaves such files out") from error

    def name(self, position: int) -> str:
        return self.files[position]

    @property
    def paths(self) -> list[Path]:
        return [Path(file) for file in self.files]

    @property
    def num_bytes(self) -> int:
        """Size of all images when decoded."""
        return math.prod(self.shape)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of all images as one tensor, (N, C, H, W)."""
        return len(self.files), self.reading.channels, self.reading.image_size, self.reading.image_size

    def decode_into(self, pixels: Tensor) -> None:
        """Decodes all files into a uint8 tensor of :attr:`shape`."""

        def decode(position: int) -> None:
            pixels[position] = self._decode(position)

        with ThreadPoolExecutor(usable_processors()) as workers:
            deque(workers.map(decode, range(len(self.files))), maxlen=0)

    def decoded(self, cache_dir: Path | None, name: str, memory_bytes: float) -> ArrayImages | FileImages:
        """All images decoded once: in a file if there is a folder with room for it, else in memory, else as they are.

        Args:
            cache_dir: Folder of the file, or None.
            name: Name of the file without its digest.
            memory_bytes: Memory that the images may take.
        """
        cached = None if cache_dir is None else self.in_file(cache_dir, name)
        if cached is not None:
            return cached
        return self.in_memory() if self.num_bytes <= memory_bytes else self

    def in_memory(self) -> ArrayImages:
        """Decodes all files once and keeps the pixels in memory."""
        pixels = torch.empty(self.shape, dtype=torch.uint8)
        self.decode_into(pixels)
        return self._with_pixels(pixels)

    def in_file(self, folder: Path, name: str) -> ArrayImages | None:
        """Decodes all files once for all runs, see :func:`lit_cnn.data.cache.mapped`; None if the folder has no room."""
        whole = hashlib.blake2b(repr((PIL.__version__, DECODING, self.shape, self.reading)).encode(), digest_size=12)
        whole.update("".join(self.digests).encode())
        pixels = mapped(folder, name, whole.hexdigest(), self.shape, self.decode_into)
        return None if pixels is None else self._with_pixels(pixels)

    def _with_pixels(self, pixels: Tensor) -> ArrayImages:
        return ArrayImages(pixels, self.labels, self.files)
