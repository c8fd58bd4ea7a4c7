"""What a step reads from a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def float_images(batch: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
    """The images of a batch, in the precision of the weights.

    Raises:
        ValueError: If they are raw pixels, which the network was not made for.
    """
    images = batch[0]
    if not images.is_floating_point():
        raise ValueError(
            f"the images are raw pixels ({str(images.dtype).removeprefix('torch.')}), neither resized nor normalised: "
            f"give the Trainer the data module (datamodule=…) in place of its loaders"
        )
    return images.to(dtype)


def targets_of(batch: tuple[Tensor, ...], num_classes: int, dtype: torch.dtype) -> Tensor:
    """What a training step shall learn from a batch.

    Args:
        batch: Images, labels, and for mixed images ``targets``: the shares of the classes that the data have.
        num_classes: Outputs of the network, which may be more.
        dtype: Of the shares.

    Shape:
        Output (N,) labels, or (N, num_classes) shares.
    """
    shares = getattr(batch, "targets", None)
    return batch[1] if shares is None else F.pad(shares, (0, num_classes - shares.shape[1])).to(dtype)
