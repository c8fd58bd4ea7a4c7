"""The random numbers of an augmentation: computed from seed and epoch, one row for each place in the order.

Each operation has columns of its own. To switch one on or off changes no number of another.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SHIFT, FLIP = slice(0, 2), 2
# Runs without any other operation draw these alone.
NUM_DRAWS = 3
AREA = slice(3, 7)  # random resized crop: area, proportions, row, column
AFFINE = slice(7, 13)  # rotation, shear, zoom, and the shift in both directions; the last one is spare
COLOUR = slice(13, 18)  # brightness, contrast, saturation, hue, grey
POLICY = slice(18, 36)  # operation, strength, sign; up to MAX_OPERATIONS times
MAX_OPERATIONS = 6
ERASING = slice(36, 41)  # whether, area, proportions, row, column
CUTOUT = slice(41, 43)  # row, column
MIXING = slice(43, 46)  # kind, row, column
LEVELS = slice(46, 51)  # sharpness, posterising, solarising, autocontrast, equalising
SHARE = 51  # share of the partner in a mixture; not uniform
NUM_ALL = 52

# Separates the numbers of these operations from those of order, shift and flip.
_MORE, _SHARES = 0xA06, 0xA07


def shuffled(seed: int, epoch: int, num_images: int) -> tuple[Tensor, Tensor]:
    """The order of an epoch's images and the random numbers of shift and flip.

    Shape:
        Output (N,) int64 and (N, NUM_DRAWS) in [0, 1).
    """
    generator = np.random.default_rng([seed, epoch])
    order = torch.from_numpy(generator.permutation(num_images))
    return order, torch.from_numpy(generator.random((num_images, NUM_DRAWS), dtype=np.float32))


def more_draws(seed: int, epoch: int, num_images: int, mixup: float, cutmix: float) -> Tensor:
    """The random numbers of all other operations.

    Args:
        seed: Seed of the augmentation.
        epoch: Current epoch.
        num_images: Images in the epoch.
        mixup: Parameter of the Beta distribution of MixUp's shares; 0 for none.
        cutmix: The same for CutMix. With both, each image is mixed by one of them.

    Shape:
        Output (N, NUM_ALL - NUM_DRAWS) in [0, 1), the shares in [0, 1].
    """
    # Column by column: a later version may add columns and leave these as they are.
    uniform = np.random.default_rng([_MORE, seed, epoch]).random((SHARE - NUM_DRAWS, num_images), dtype=np.float32)
    alpha = np.where(is_cut(uniform[MIXING.start - NUM_DRAWS], mixup, cutmix), cutmix, mixup)
    shares = np.random.default_rng([_SHARES, seed, epoch]).beta(np.maximum(alpha, 1e-3), np.maximum(alpha, 1e-3))
    return torch.from_numpy(np.concatenate([uniform, shares[None].astype(np.float32)]).T.copy())


def as_bits(draws: Tensor) -> Tensor:
    """The bits of random numbers, as whole numbers: fractions in a batch are rounded to the precision of the weights."""
    return draws.view(torch.int32)


def as_numbers(draws: Tensor) -> Tensor:
    """Random numbers, also from their bits."""
    return draws if draws.is_floating_point() else draws.view(torch.float32)


def is_cut(numbers: Tensor | np.ndarray, mixup: float, cutmix: float) -> Tensor | np.ndarray:
    """Which images CutMix mixes, and not MixUp."""
    share = 0.0 if not cutmix else 0.5 if mixup else 1.0
    return numbers < share
