"""TrivialAugment and RandAugment: operations drawn for each image from a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from lit_cnn.data.augment.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    adjust_sharpness,
    autocontrast,
    equalize,
    posterize,
    solarize,
)
from lit_cnn.data.augment.geometry import affine_matrices, warp

Policy: TypeAlias = Literal["none", "trivial", "randaugment"]
# Strengths are divided into so many levels, from 0.
NUM_LEVELS = 31


@dataclass(frozen=True)
class Operation:
    """One of the operations of a policy.

    Args:
        apply: Takes images and a strength for each.
        strength: From the level, as a share of the highest one, and the width of the images in pixels.
        signed: Whether the strength is made negative for every other image.
    """

    apply: Callable[[Tensor, Tensor], Tensor]
    strength: Callable[[Tensor, int], Tensor] = lambda level, _: level
    signed: bool = False


def _moved(images: Tensor, angle: float | Tensor, right: float | Tensor, down: float | Tensor) -> Tensor:
    zero = images.new_zeros(len(images), dtype=torch.float32)
    shift = torch.stack([zero + right, zero + down], 1)
    size = images.shape[-2], images.shape[-1]
    return warp(images, affine_matrices(zero + angle, shift, zero + 1, torch.stack([zero, zero], 1), *size), size)


def _sheared(images: Tensor, along_rows: float | Tensor, along_columns: float | Tensor) -> Tensor:
    """Sheared from the upper left corner, as in the papers' code, by shares of a pixel for each pixel."""
    zero = images.new_zeros(len(images), dtype=torch.float32)
    degrees = torch.rad2deg(torch.stack([zero + along_rows, zero + along_columns], 1).atan())
    size = images.shape[-2], images.shape[-1]
    matrices = affine_matrices(zero, torch.stack([zero, zero], 1), zero + 1, degrees, *size, centre=False)
    return warp(images, matrices, size)


def _table(shear: float, shift: Callable[[int], float], angle: float, change: float, bits: float) -> tuple[Operation, ...]:
    """The operations of both papers, with their strongest settings.

    Args:
        shear: Pixels for each pixel.
        shift: In pixels, by the width of the images; fractions are cut off.
        angle: Degrees.
        change: Of brightness, saturation, contrast and sharpness, from 1.
        bits: Which posterising takes away.
    """

    def changed(level: Tensor, _: int) -> Tensor:
        return change * level

    return (
        Operation(lambda images, _: images),
        Operation(lambda images, by: _sheared(images, by, 0), lambda level, _: shear * level, signed=True),
        Operation(lambda images, by: _sheared(images, 0, by), lambda level, _: shear * level, signed=True),
        Operation(
            lambda images, by: _moved(images, 0, by, 0), lambda level, width: (shift(width) * level).trunc(), signed=True
        ),
        Operation(
            lambda images, by: _moved(images, 0, 0, by), lambda level, width: (shift(width) * level).trunc(), signed=True
        ),
        Operation(lambda images, by: _moved(images, -by, 0, 0), lambda level, _: angle * level, signed=True),
        Operation(lambda images, by: adjust_brightness(images, 1 + by), changed, signed=True),
        Operation(lambda images, by: adjust_saturation(images, 1 + by), changed, signed=True),
        Operation(lambda images, by: adjust_contrast(images, 1 + by), changed, signed=True),
        Operation(lambda images, by: adjust_sharpness(images, 1 + by), changed, signed=True),
        Operation(posterize, lambda level, _: 8 - (bits * level).round()),
        Operation(solarize, lambda level, _: 255 * (1 - level)),
        Operation(lambda images, _: autocontrast(images)),
        Operation(lambda images, _: equalize(images)),
    )


# Müller and Hutter 2021, arXiv:2103.10158, Table 8, the wide space. Deviates: images of fewer than 32 pixels move by their
# width at most.
TRIVIAL = _table(shear=0.99, shift=lambda width: min(32, width), angle=135, change=0.99, bits=6)
# Cubuk et al. 2019, arXiv:1909.13719, with the strengths of torchvision's RandAugment.
RANDAUGMENT = _table(shear=0.3, shift=lambda width: width * 150 / 331, angle=30, change=0.9, bits=4)


def trivial_augment(images: Tensor, draws: Tensor) -> Tensor:
    """One operation for each image, of a random strength.

    Source: Müller and Hutter 2021, arXiv:2103.10158. Interpolates bilinearly where torchvision takes the nearest pixel.

    Args:
        images: uint8 images.
        draws: Uniform random numbers in [0, 1): operation, strength, sign.

    Shape:
        Images (N, C, H, W), draws (N, 3); output (N, C, H, W).
    """
    level = (draws[:, 1] * NUM_LEVELS).floor() / (NUM_LEVELS - 1)
    return apply_operations(images, TRIVIAL, draws[:, 0], level, draws[:, 2])


def rand_augment(images: Tensor, draws: Tensor, num_ops: int = 2, magnitude: int = 9) -> Tensor:
    """Several operations for each image, one after the other, all of one strength.

    Source: Cubuk et al. 2019, arXiv:1909.13719. Interpolates bilinearly where torchvision takes the nearest pixel.

    Args:
        images: uint8 images.
        draws: Uniform random numbers in [0, 1), three for each operation: which one, spare, sign.
        num_ops: Number of operations.
        magnitude: Their strength, from 0 to 30.

    Shape:
        Images (N, C, H, W), draws (N, 3·num_ops); output (N, C, H, W).
    """
    level = torch.full_like(draws[:, 0], magnitude / (NUM_LEVELS - 1))
    for number in range(num_ops):
        which, _, sign = draws[:, 3 * number : 3 * number + 3].unbind(1)
        images = apply_operations(images, RANDAUGMENT, which, level, sign)
    return images


def apply_operations(images: Tensor, table: tuple[Operation, ...], which: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Applies one operation of a table to each image.

    Args:
        images: uint8 images.
        table: The operations.
        which: Random numbers in [0, 1) that choose the operation.
        level: Strength of each, from 0 to 1.
        sign: Random numbers in [0, 1): below one half, a signed strength is negative.

    Shape:
        Images (N, C, H, W), the others (N,); output (N, C, H, W).
    """
    chosen = (which * len(table)).long()
    # Sorted by operation, so that each has one slice. A GPU is waited for once, for the lengths of the slices.
    # ``index_select`` copies whole images, where an index in brackets copies pixel by pixel.
    order = chosen.argsort(stable=True)
    counts = torch.bincount(chosen, minlength=len(table)).tolist()
    changed = []
    parts = (given.index_select(0, order).split(counts) for given in (images, level, sign))
    for operation, own, levels, signs in zip(table, *parts, strict=True):
        strength = operation.strength(levels, images.shape[-1])
        if operation.signed:
            strength = torch.where(signs < 0.5, -strength, strength)
        changed.append(operation.apply(own, strength) if len(own) else own)
    return torch.cat(changed).index_select(0, order.argsort())
