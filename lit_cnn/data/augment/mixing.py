"""MixUp and CutMix: each image gets a share of another one, and of its label.

The partner of an image is half a batch away. The order of a batch is random, so the pairs are too. Several processes divide
a batch in turn, so that both images of a pair are in the same process: they mix as one process would.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_cnn.data.augment.draws import is_cut
from lit_cnn.data.augment.erasing import inside


def partners(values: Tensor) -> Tensor:
    """For each image of a batch, the value of its partner.

    Shape:
        Values (N, …); output (N, …).
    """
    return values.roll(len(values) // 2, 0)


def partner_shares(draws: Tensor, shares: Tensor, height: int, width: int, mixup: float, cutmix: float) -> Tensor:
    """How much of each pixel comes from the partner.

    MixUp (Zhang et al. 2018, arXiv:1710.09412) takes the same share in all pixels. CutMix (Yun et al. 2019,
    arXiv:1905.04899) takes all of a box whose area is that share; a part of the box may lie outside.

    Args:
        draws: Uniform random numbers in [0, 1): kind, row and column of the box.
        shares: Random numbers from the Beta distribution.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        mixup: Parameter of MixUp's Beta distribution; 0 for none.
        cutmix: The same for CutMix. With both, each image is mixed by one of them.

    Shape:
        Draws (N, 3), shares (N,); output (N, height, width) from 0 to 1.
    """
    everywhere = shares[:, None, None].expand(-1, height, width)
    if not cutmix:
        return everywhere
    side = shares.sqrt()
    half = torch.stack([(side * height * 0.5).long(), (side * width * 0.5).long()], 1)  # (N, 2)
    centre = (draws[:, 1:] * torch.tensor([height, width], device=draws.device)).long()
    in_box = inside(torch.cat([centre - half, 2 * half], 1), height, width).to(shares.dtype)
    return torch.where(is_cut(draws[:, 0], mixup, cutmix)[:, None, None], in_box, everywhere)


def mix(images: Tensor, labels: Tensor, shares: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Mixes each image with its partner, and their labels by the same share.

    Args:
        images: Float images.
        labels: Their classes.
        shares: Of the partner in each pixel, see :func:`partner_shares`.
        num_classes: Number of classes.

    Shape:
        Images (N, C, H, W), labels (N,) int64, shares (N, H, W); output (N, C, H, W), and (N, num_classes) whose rows sum
        to 1.
    """
    mixed = images.lerp(partners(images), shares[:, None])
    one_hot = F.one_hot(labels, num_classes).to(images.dtype)
    return mixed, one_hot.lerp(partners(one_hot), shares.mean((1, 2))[:, None].to(images.dtype))
