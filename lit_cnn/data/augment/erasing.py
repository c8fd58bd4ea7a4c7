"""Random erasing and Cutout: hide a part of each image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lit_cnn.data.augment.geometry import boxes_of


def erasing_boxes(draws: Tensor, height: int, width: int, probability: float) -> Tensor:
    """Boxes of random erasing: 2 to 33 % of the area, sides in proportions of 0.3 to 3.3.

    Source: Zhong et al. 2017, arXiv:1708.04896. Deviates: a box that does not fit the image is made narrower or lower, where
    torchvision draws again up to ten times.

    Args:
        draws: Uniform random numbers in [0, 1): whether, area, proportions, row, column.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        probability: Share of the images that lose a box.

    Shape:
        Draws (N, 5); output (N, 4) int64: top, left, height, width; height and width are 0 for an image that stays.
    """
    area = height * width * (0.02 + 0.31 * draws[:, 1])
    ratio = torch.exp(math.log(0.3) + (math.log(3.3) - math.log(0.3)) * draws[:, 2])
    boxes = boxes_of(area, ratio, draws[:, 3:], height, width)
    return torch.where(draws[:, :1] < probability, boxes, 0)


def cutout_boxes(draws: Tensor, height: int, width: int, side: int) -> Tensor:
    """Squares at random centres, of which parts may lie outside the image.

    Source: DeVries and Taylor 2017, arXiv:1708.04552.

    Args:
        draws: Uniform random numbers in [0, 1): row, column.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        side: Of each square, in pixels.

    Shape:
        Draws (N, 2); output (N, 4) int64: top, left, height, width.
    """
    size = torch.tensor([height, width], device=draws.device)
    corner = (draws * size).floor().long() - side // 2
    return torch.cat([corner, torch.full_like(corner, side)], 1)


def erase(images: Tensor, boxes: Tensor, value: float = 0.0) -> Tensor:
    """Sets a box of its own in each image to one value. Zero is the mean colour of normalised images.

    Shape:
        Images (N, C, H, W), boxes (N, 4): top, left, height, width; output (N, C, H, W), in the images' memory.
    """
    if images.device.type != "cpu":  # to find the images that stay would wait for the device
        return images.masked_fill_(inside(boxes, *images.shape[-2:])[:, None], value)
    rows = (boxes[:, 2] > 0).nonzero()[:, 0]
    images[rows] = images[rows].masked_fill_(inside(boxes[rows], *images.shape[-2:])[:, None], value)
    return images


def inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Which pixels lie in the boxes.

    Shape:
        Boxes (N, 4): top, left, height, width; output (N, height, width) bool.
    """
    top, left, tall, wide = boxes[:, :, None].unbind(1)
    rows, columns = torch.arange(height, device=boxes.device), torch.arange(width, device=boxes.device)
    in_rows, in_columns = (rows >= top) & (rows < top + tall), (columns >= left) & (columns < left + wide)
    return in_rows[:, :, None] & in_columns[:, None, :]
