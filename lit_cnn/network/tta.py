"""Test-time augmentation: the mean of what a network answers for several views of an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

Tta = Literal["flip", "shifts"]
NUM_VIEWS: dict[str, int] = {"flip": 2, "shifts": 9}
_VIEWS = {"flip": "the image and its mirror image", "shifts": "the image and its eight shifts by one pixel"}


def read_tta(value: Any) -> Tta | None:
    """The augmentation that a user means: a name, ``True`` for ``flip``, ``False`` or ``None`` for none.

    Raises:
        ValueError: If there is no such augmentation.
    """
    if value is None or value is False:
        return None
    if value is True:
        return "flip"
    if value not in get_args(Tta):
        raise ValueError(f"tta must be {' or '.join(get_args(Tta))}, got {value!r}")
    return cast(Tta, value)


def describe_tta(tta: Tta) -> str:
    """The augmentation and its cost in a few words."""
    return f"{tta}: mean probability of {_VIEWS[tta]}, in {NUM_VIEWS[tta]} times the time"


def pixel_of(image_size: int, native_size: int) -> int:
    """Pixels of a network's image that one pixel of the stored image covers, at least one.

    Args:
        image_size: Height and width that the network sees.
        native_size: Height and width at which images are stored. It is larger if the network sees their centre alone, at
            the same scale.
    """
    return max(1, round(image_size / native_size))


def pixel_of_data(data: Any) -> int:
    """:func:`pixel_of` of a data module; 1 if it has no sizes, or there is none."""
    image_size, native_size = getattr(data, "image_size", None), getattr(data, "native_size", None)
    return pixel_of(image_size, native_size) if image_size and native_size else 1


def views(images: Tensor, tta: Tta, pixel: int = 1) -> Iterator[Tensor]:
    """The views of a batch, the images themselves first. All have the size of the images.

    ``shifts`` moves by one pixel in both directions. The row or column at the edge is repeated: training fills with black,
    but not every recipe shifts, and a photograph has no black edge.

    Args:
        images: Preprocessed.
        tta: Which views.
        pixel: How far a shift moves, see :func:`pixel_of`.

    Shape:
        Input (N, C, H, W); each view the same, in the same memory format.
    """
    yield images
    if tta == "flip":
        yield images.flip(-1)
        return
    height, width = images.shape[-2:]
    padded = F.pad(images, (pixel,) * 4, mode="replicate")
    channels_last = images.is_contiguous(memory_format=torch.channels_last)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    for row in range(0, 2 * pixel + 1, pixel):
        for column in range(0, 2 * pixel + 1, pixel):
            if (row, column) != (pixel, pixel):
                view = padded[..., row : row + height, column : column + width]
                yield view.contiguous(memory_format=memory_format)


def mean_log_probabilities(network: Callable[[Tensor], Tensor], images: Tensor, tta: Tta, pixel: int = 1) -> Tensor:
    """Logarithms of the mean probabilities over all views, in float32.

    Args:
        network: From images to logits (N, num_classes).
        images: Preprocessed.
        tta: Which views.
        pixel: How far a shift moves, see :func:`pixel_of`.

    Shape:
        Input (N, C, H, W); output (N, num_classes).
    """
    sums: Tensor | None = None
    for view in views(images, tta, pixel):
        # A new tensor: a network that replays a CUDA graph overwrites its logits in the next call.
        one = network(view).float().log_softmax(dim=1)
        sums = one if sums is None else sums.logaddexp(one)
    assert sums is not None
    return sums - math.log(NUM_VIEWS[tta])
