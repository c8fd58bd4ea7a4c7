"""What happens to an image between the file and the network, the same in training and in prediction."""

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

# The Pillow modes that hold one luminance value per pixel.
GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "F"}
# What images are decoded from; Pillow knows formats that start other programs. Some phones' MPO is a JPEG here.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
Image.init()  # when formats are named, Pillow does not look for those that it has not loaded yet
# Largest image, after a JPEG decoder has skipped what it can: in colour it takes 200 MB while it is decoded.
MAX_PIXELS = 2**26
# Raised when :func:`read_image` gives other pixels than before, so that what was decoded earlier is not taken for the same.
DECODING = 1


@dataclass(frozen=True)
class Preprocessing:
    """Resizes a batch and normalises each channel.

    Args:
        image_size: Height and width that the network sees, in pixels.
        mean: Mean of each channel over the training images, on a scale of 0 to 1.
        std: Standard deviation of each channel, same scale.
        resize_size: Height and width from whose centre the ``image_size`` is cut; if not given, nothing is cut off.

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
        # x / 255 and (x - mean) / std as one multiplication and one addition, in place. The channels become the last in
        # memory afterwards: while the numbers of one channel lie together, this is several times as fast.
        scale, shift = _scale_and_shift(self.mean, self.std, images.device)
        images = images.to(torch.float32, copy=True).mul_(scale).add_(shift)
        if images.shape[-2:] != size:
            smaller = images.shape[-1] > resized
            images = F.interpolate(images, size, mode="bilinear", antialias=smaller)
        # Rounds to the even number of two, as torchvision does.
        start = round((resized - self.image_size) / 2)
        images = images[..., start : start + self.image_size, start : start + self.image_size]
        # Convolutions are faster so, on processors and on tensor cores alike.
        return images.to(memory_format=torch.channels_last)

    def to_display(self, images: Tensor) -> Tensor:
        """Undoes the normalisation: float (N, C, H, W) on a scale of 0 to 1."""
        mean = torch.tensor(self.mean, device=images.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(-1, 1, 1)
        return (images * std + mean).clamp(0, 1)


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)
def _scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Made once for each device: to bring them there anew, a GPU would be waited for at every batch."""
    means, stds = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (mean, std))
    return 1 / (255 * stds), -means / stds


def is_grey(path: Path) -> bool:
    """Whether an image file holds one channel, from its header alone.

    Raises:
        ValueError: If the file is not an image; names it.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
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
        ValueError: If the file is not an image, is truncated, or is suspiciously large; names it.
    """
    try:
        return decode(path, image_size, channels)
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise ValueError(f"{path} cannot be decoded as an image ({_reason(error)})") from error


def decode(file: Path | IO[bytes], image_size: int, channels: int) -> Tensor:
    """As :func:`read_image`, of a path or an opened file, with Pillow's own errors."""
    with Image.open(file, formats=FORMATS) as image:
        # Lets the JPEG decoder skip detail that the resize would discard.
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
