"""From an image file to the input of a network, the same in training and in prediction."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from lit_cnn.data.formats import FORMATS as FORMATS
from lit_cnn.data.formats import SUFFIXES as SUFFIXES
from lit_cnn.data.loader import Images

# The Pillow modes that hold one luminance value per pixel.
GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "F"}
# Largest image, after the JPEG decoder has reduced it. Decoded in colour it takes 200 MB.
MAX_PIXELS = 2**26
# Version of :func:`read_image`, part of the cache's digest: raise it when the same file gives other pixels.
DECODING = 1


@dataclass(frozen=True)
class Preprocessing:
    """Resizes a batch and normalises each channel.

    Args:
        image_size: Height and width that the network sees, in pixels.
        mean: Mean of each channel over the training images, on a scale of 0 to 1.
        std: Standard deviation of each channel, same scale.
        resize_size: If given, the image is resized to this height and width, and ``image_size`` is cut from its centre.

    Shape:
        Input uint8 (N, C, H, W); output float32 (N, C, image_size, image_size), channels last in memory.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize_size: int | None = None

    def __call__(self, images: Tensor) -> Tensor:
        resized = self.resize_size or self.image_size
        size = (resized, resized)
        # x / 255 and (x - mean) / std are one multiplication and one addition, in place. They come before the conversion to
        # channels last: on contiguous channels they are several times as fast.
        scale, shift = _scale_and_shift(self.mean, self.std, images.device)
        images = images.to(torch.float32, copy=True).mul_(scale).add_(shift)
        if images.shape[-2:] != size:
            shrinks = images.shape[-1] > resized
            images = F.interpolate(images, size, mode="bilinear", antialias=shrinks)
        # Rounds half to even, as torchvision does.
        start = round((resized - self.image_size) / 2)
        images = images[..., start : start + self.image_size, start : start + self.image_size]
        # Convolutions in channels last are faster, on CPUs and on tensor cores.
        return images.to(memory_format=torch.channels_last)

    def to_display(self, images: Tensor) -> Tensor:
        """Undoes the normalisation: float (N, C, H, W) on a scale of 0 to 1."""
        mean = torch.tensor(self.mean, device=images.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(-1, 1, 1)
        return (images * std + mean).clamp(0, 1)


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)
def _scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Made once for each device: a copy in each batch would wait for the GPU."""
    means, stds = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (mean, std))
    return 1 / (255 * stds), -means / stds


def measure(images: Images, max_images: int = 10_000) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, on a scale of 0 to 1.

    Args:
        images: What is measured.
        max_images: If there are more, so many are taken at even distances.
    """
    positions = torch.linspace(0, len(images.labels) - 1, min(len(images.labels), max_images)).long()
    # Sums of whole numbers: exact, and several times as fast as those of fractions.
    total, squares, count = torch.tensor(0), torch.tensor(0), 0
    for part in positions.split(256):
        pixels = images.fetch(part).to("cpu", torch.int32)
        total = total + pixels.sum((0, 2, 3))
        squares = squares + pixels.square_().sum((0, 2, 3))
        count += pixels.numel() // pixels.shape[1]
    mean = total.double() / (255 * count)
    # A channel without contrast would divide by zero.
    std = (squares.double() / (255**2 * count) - mean.square()).clamp(min=0).sqrt().clamp(min=1e-3)
    return tuple(mean.tolist()), tuple(std.tolist())


def is_grey(path: Path, content: IO[bytes] | None = None) -> bool:
    """Whether an image file has one channel, according to its header.

    Args:
        path: The file.
        content: Its content, if it was read already.

    Raises:
        ValueError: If the file is not an image; names it.
    """
    try:
        with Image.open(content or path, formats=FORMATS) as image:
            return image.mode in GREY_MODES
    except Exception as error:
        raise ValueError(f"{path} is not a readable image ({_reason(error)})") from error


def read_image(path: Path, image_size: int, channels: int) -> Tensor:
    """Decodes a file, resizes its shorter side to ``image_size`` and takes the central square.

    Args:
        path: A JPEG, PNG or other file that Pillow reads. Its EXIF orientation is applied.
        image_size: Height and width of the result, in pixels.
        channels: 1 for grey, 3 for colour; the image is converted.

    Shape:
        Output uint8 (channels, image_size, image_size).

    Raises:
        ValueError: If the file is not an image, is truncated, or is too large; names it.
    """
    try:
        return decode(path, image_size, channels)
    except Exception as error:  # Pillow's decoders raise errors of many classes
        raise ValueError(f"{path} cannot be decoded as an image ({_reason(error)})") from error


def decode(file: Path | IO[bytes], image_size: int, channels: int) -> Tensor:
    """:func:`read_image` for a path or an open file, with Pillow's own errors."""
    with Image.open(file, formats=FORMATS) as image:
        # Lets the JPEG decoder skip detail that resizing would discard.
        image.draft(_mode(channels), (image_size, image_size))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}×{image.height} pixels are more than {MAX_PIXELS:,}")
        return central_square(image, image_size, channels)


def central_square(image: Image.Image, image_size: int, channels: int) -> Tensor:
    """The steps of :func:`read_image` after decoding, with Pillow's own errors."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits a pixel; convert() would clip them to 8
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    square = ImageOps.fit(image.convert(_mode(channels)), (image_size, image_size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(square)).view(image_size, image_size, channels).permute(2, 0, 1)


def _mode(channels: int) -> str:
    return "L" if channels == 1 else "RGB"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
