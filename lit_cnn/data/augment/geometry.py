"""Operations that move pixels, drawn separately for each image.

The random numbers come with the batch (see :mod:`lit_cnn.data.augment.draws`), so an augmentation is a pure function. The
same images and numbers give the same result on any device and in any process.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_cnn.data.frame import start_of_centre


def crop_and_flip(images: Tensor, draws: Tensor, crop_padding: int, flip: bool, size: int | None = None) -> Tensor:
    """Shifts each image by up to ``crop_padding`` pixels, filled with black, and mirrors it with probability one half.

    Source: He et al. 2015, arXiv:1512.03385, Sec. 4.2, on CIFAR-10: pad on all sides, crop at random to the old size, flip.

    Args:
        images: Batch of any dtype.
        draws: Uniform random numbers in [0, 1): row and column of the crop, flip; more are not used.
        crop_padding: Pixels added on each side before the crop.
        flip: Whether to mirror left to right.
        size: If given, the centre of this height and width is shifted. Only what lies beyond the images is black.

    Shape:
        Images (N, C, H, W), draws (N, 3); output (N, C, H, W), or (N, C, size, size).
    """
    num_images, _, whole_height, whole_width = images.shape
    height, width = (whole_height, whole_width) if size is None else (size, size)
    top, left = start_of_centre(whole_height, height), start_of_centre(whole_width, width)
    shift = shifts(draws[:, :2], crop_padding).long()  # (N, 2)
    rows = torch.arange(height, device=images.device) + shift[:, :1] + top  # (N, H)
    columns = torch.arange(width, device=images.device) + shift[:, 1:2] + left  # (N, W)
    if flip:
        columns = torch.where(is_flipped(draws[:, 2:3]), columns.flip(1), columns)
    border = max(0, crop_padding - min(top, left, whole_height - height - top, whole_width - width - left))
    if border:
        images = F.pad(images, (border,) * 4)
        rows, columns = rows + border, columns + border
    # One gather does both. Indices before and after the slice of channels put the channels last: (N, H, W, C).
    image = torch.arange(num_images, device=images.device)[:, None, None]
    return images[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def shifts(draws: Tensor, crop_padding: int) -> Tensor:
    """Whole numbers from ``-crop_padding`` to ``crop_padding``, of uniform random numbers in [0, 1)."""
    return (draws * (2 * crop_padding + 1)).floor() - crop_padding


def is_flipped(draws: Tensor) -> Tensor:
    """Which images are mirrored."""
    return draws < 0.5


# Random resized crop


def crop_boxes(draws: Tensor, height: int, width: int, min_area: float, max_ratio: float = 4 / 3) -> Tensor:
    """Boxes of random area and proportions at random places, in whole pixels.

    Source: Szegedy et al. 2015, arXiv:1409.4842, Sec. 6. Deviates: a box that does not fit the image is made narrower or
    lower, where torchvision draws again up to ten times.

    Args:
        draws: Uniform random numbers in [0, 1): area, proportions, row, column.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        min_area: Smallest share of the image's area; the largest is 1.
        max_ratio: Largest proportion of width to height; the smallest is its inverse.

    Shape:
        Draws (N, 4); output (N, 4) int64: top, left, height, width.
    """
    area = height * width * (min_area + (1 - min_area) * draws[:, 0])
    ratio = torch.exp(math.log(max_ratio) * (2 * draws[:, 1] - 1))
    return boxes_of(area, ratio, draws[:, 2:], height, width)


def boxes_of(area: Tensor, ratio: Tensor, place: Tensor, height: int, width: int) -> Tensor:
    """Boxes inside an image.

    Args:
        area: Of each box, in pixels.
        ratio: Width by height of each box.
        place: Random numbers for row and column.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.

    Shape:
        Area (N,), ratio (N,), place (N, 2); output (N, 4) int64: top, left, height, width.
    """
    tall = (area / ratio).sqrt().round().clamp(1, height)
    wide = (area * ratio).sqrt().round().clamp(1, width)
    top = (place[:, 0] * (height - tall + 1)).floor()
    left = (place[:, 1] * (width - wide + 1)).floor()
    return torch.stack([top, left, tall, wide], 1).long()


def resized_crop(images: Tensor, boxes: Tensor, size: int, flipped: Tensor | None = None) -> Tensor:
    """Cuts a box of its own out of each image and resizes it to a square, in one resampling with antialiasing.

    Equals torchvision's ``resized_crop`` with ``antialias=True``; of uint8 images to within one level, because torchvision
    rounds the weights.

    Args:
        images: uint8 images, or float ones.
        boxes: Top, left, height and width of each box, in pixels.
        size: Height and width of the result.
        flipped: Which results are mirrored.

    Shape:
        Images (N, C, H, W), boxes (N, 4), flipped (N,) bool; output (N, C, size, size) of the images' dtype.
    """
    rows = _weights(boxes[:, 0], boxes[:, 2], images.shape[-2], size)  # (N, size, H)
    columns = _weights(boxes[:, 1], boxes[:, 3], images.shape[-1], size)  # (N, size, W)
    if flipped is not None:
        columns = torch.where(flipped[:, None, None], columns.flip(1), columns)
    # All channels of a row lie side by side, so that one product of matrices per image serves them.
    num_images, channels, height, width = images.shape
    pixels = images.transpose(1, 2).to(rows.dtype, memory_format=torch.contiguous_format)  # (N, H, C, W)
    resized = torch.bmm(rows, pixels.reshape(num_images, height, channels * width)).view(num_images, size * channels, width)
    resized = torch.bmm(resized, columns.mT).view(num_images, size, channels, size)
    return _as(images, resized).transpose(1, 2)


def _weights(start: Tensor, length: Tensor, num_pixels: int, size: int) -> Tensor:
    """Weights (N, size, num_pixels) of the pixels of a box in each pixel of the result: a triangle, as in Pillow."""
    start, length = start[:, None, None].float(), length[:, None, None].float()
    step = length / size
    centre = start + (torch.arange(size, device=start.device, dtype=torch.float32)[:, None] + 0.5) * step
    pixel = torch.arange(num_pixels, device=start.device, dtype=torch.float32) + 0.5
    weights = (1 - ((pixel - centre) / step.clamp(min=1)).abs()).clamp(min=0)
    weights = weights * ((pixel > start) & (pixel < start + length))
    return weights / weights.sum(-1, keepdim=True)


# Affine maps


def affine_matrices(
    angle: Tensor, shift: Tensor, scale: Tensor, shear: Tensor, height: int, width: int, centre: bool = True
) -> Tensor:
    """Maps that turn, shear, zoom and shift, from pixels of the result to pixels of the image.

    Args:
        angle: Clockwise, in degrees.
        shift: To the right and down, in pixels.
        scale: Above 1 enlarges.
        shear: Along rows and along columns, in degrees.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        centre: Whether the centre of the image stays in place, and not its upper left corner.

    Shape:
        Angle (N,), shift (N, 2), scale (N,), shear (N, 2); output (N, 3, 3).
    """
    turn, (along_rows, along_columns) = torch.deg2rad(angle), torch.deg2rad(shear).tan().unbind(1)
    cos, sin, zero, one = turn.cos(), turn.sin(), torch.zeros_like(turn), torch.ones_like(turn)
    rotation = _matrix([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]])
    columns = _matrix([[one, zero, zero], [-along_columns, one, zero], [zero, zero, one]])
    rows = _matrix([[one, -along_rows, zero], [zero, one, zero], [zero, zero, one]])
    zoom = _matrix([[scale, zero, zero], [zero, scale, zero], [zero, zero, one]])
    middle = [width / 2, height / 2] if centre else [0.0, 0.0]
    to_centre = torch.tensor(middle, device=angle.device, dtype=torch.float32).expand(len(angle), 2)
    forward = _move(to_centre + shift) @ rotation @ columns @ rows @ zoom @ _move(-to_centre)
    return torch.linalg.inv(forward)


def crop_matrices(boxes: Tensor, size: tuple[int, int], flipped: Tensor) -> Tensor:
    """Maps from pixels of the result to pixels of the image, for boxes that are resized and perhaps mirrored.

    Args:
        boxes: Top, left, height and width, in pixels; they may reach beyond the image.
        size: Height and width of the result, in pixels.
        flipped: Which results are mirrored.

    Shape:
        Boxes (N, 4), flipped (N,) bool; output (N, 3, 3).
    """
    top, left, tall, wide = boxes.float().unbind(1)
    sign = 1.0 - 2.0 * flipped.float()
    zero, one = torch.zeros_like(top), torch.ones_like(top)
    x = [sign * wide / size[1], zero, left + flipped.float() * wide]
    return _matrix([x, [zero, tall / size[0], top], [zero, zero, one]])


def warp(images: Tensor, matrices: Tensor, size: tuple[int, int]) -> Tensor:
    """Takes each pixel of the result from where a map points in the image: bilinear, black outside.

    Equals torchvision's ``affine`` with bilinear interpolation for the same map.

    Args:
        images: uint8 images, or float ones.
        matrices: From pixels of the result to pixels of the image. The upper left corner is (0, 0), the centre of the
            first pixel (0.5, 0.5).
        size: Height and width of the result, in pixels.

    Shape:
        Images (N, C, H, W), matrices (N, 3, 3); output (N, C, *size) of the images' dtype.
    """
    height, width = images.shape[-2:]
    # To the coordinates of grid_sample, which run from -1 to 1 over both images.
    as_floats = partial(torch.tensor, device=images.device, dtype=torch.float32)
    inside = as_floats([[2 / width, 0, -1], [0, 2 / height, -1]])
    outside = as_floats([[size[1] / 2, 0, size[1] / 2], [0, size[0] / 2, size[0] / 2], [0, 0, 1]])
    grid = F.affine_grid(inside @ matrices @ outside, [len(images), 1, *size], align_corners=False)
    return _as(images, F.grid_sample(images.to(grid.dtype), grid, align_corners=False))


def _as(images: Tensor, values: Tensor) -> Tensor:
    """Values in the dtype of images, which are rounded if they are whole numbers."""
    return values if images.is_floating_point() else values.round_().clamp_(0, 255).to(images.dtype)


def _matrix(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _move(by: Tensor) -> Tensor:
    zero, one = torch.zeros_like(by[:, 0]), torch.ones_like(by[:, 0])
    return _matrix([[one, zero, by[:, 0]], [zero, one, by[:, 1]], [zero, zero, one]])
