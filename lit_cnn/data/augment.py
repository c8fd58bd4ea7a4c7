"""Random crop and flip, drawn separately for each image.

The random numbers come with the batch (see :mod:`lit_cnn.data.loader`), so an augmentation is a pure function. The same
images and numbers give the same result on any device and in any process.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Random numbers for each image: row of the crop, column of the crop, flip.
NUM_DRAWS = 3


def crop_and_flip(images: Tensor, draws: Tensor, crop_padding: int, flip: bool) -> Tensor:
    """Shifts each image by up to ``crop_padding`` pixels, filled with black, and mirrors it with probability one half.

    Source: He et al. 2015, arXiv:1512.03385, Sec. 4.2, on CIFAR-10: pad on all sides, crop at random to the old size, flip.

    Args:
        images: Batch of any dtype.
        draws: Uniform random numbers in [0, 1), one row of ``NUM_DRAWS`` for each image.
        crop_padding: Pixels added on each side before the crop.
        flip: Whether to mirror left to right.

    Shape:
        Images (N, C, H, W), draws (N, 3); output (N, C, H, W).
    """
    num_images, _, height, width = images.shape
    num_shifts = 2 * crop_padding + 1
    shift = (draws[:, :2] * num_shifts).floor().long().clamp(max=num_shifts - 1) - crop_padding  # (N, 2)
    rows = torch.arange(height, device=images.device) + shift[:, :1]  # (N, H)
    columns = torch.arange(width, device=images.device) + shift[:, 1:2]  # (N, W)
    if flip:
        columns = torch.where(draws[:, 2:] < 0.5, columns.flip(1), columns)
    if crop_padding:
        images = torch.nn.functional.pad(images, (crop_padding,) * 4)
        rows, columns = rows + crop_padding, columns + crop_padding
    # One gather does both. Indices before and after the slice of channels put the channels last: (N, H, W, C).
    image = torch.arange(num_images, device=images.device)[:, None, None]
    return images[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
