"""From uint8 images to the input of a network, the same in training and in prediction.

How a file becomes such an image: :mod:`lit_cnn.data.reading`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_cnn.data.frame import start_of_centre
from lit_cnn.data.loader import Images
from lit_cnn.data.reading import read_image as read_image


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
        start = start_of_centre(resized, self.image_size)
        images = images[..., start : start + self.image_size, start : start + self.image_size]
        # Convolutions in channels last are faster, on CPUs and on tensor cores.
        return images.to(memory_format=torch.channels_last)

    def of_crops(self, images: Tensor) -> Tensor:
        """The same for images that are cropped already: the network sees all of them."""
        return replace(self, resize_size=None)(images)

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
