"""What all networks have in common, and their tables of variants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.fx
from torch import Tensor, nn

from lit_cnn.layers.checks import require_positive
from lit_cnn.network.names import nearest


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Facts of a variant that every architecture has.

    Args:
        paper: Authors and year.
        image_size: Height and width of the images that the variant was made for, in pixels.
        min_size: Smallest height and width that it takes, in pixels.
        max_size: Largest height and width; None without a limit.
        in_channels: Channels of the images that it was made for.
        num_classes: Outputs that it was made with.
        accuracy: Published top-1 accuracy with its dataset and source; empty if none was published.
    """

    paper: str
    image_size: int
    min_size: int = 1
    max_size: int | None = None
    in_channels: int = 3
    num_classes: int = 1000
    accuracy: str = ""


Layout = TypeVar("Layout")


class Variants(dict[str, Layout]):
    """Variants by name.

    Raises:
        ValueError: If a name is unknown; suggests similar ones.
    """

    def __missing__(self, name: str) -> Layout:
        raise ValueError(f"unknown variant {name!r}; {nearest(name, self)}")


class Network(nn.Module):
    """Base of the networks: images in, logits out.

    Each ``forward`` begins with :meth:`check`: for other images, the error says which images the network takes.

    Args:
        layout: The variant.
        num_classes: Outputs.
        in_channels: Channels of the images.
    Shape:
        Input (N, in_channels, H, W); output (N, num_classes), in training and in evaluation alike.
    Raises:
        ValueError: If a count is below 1; in ``forward``, if the images have other channels or another size.
    """

    def __init__(self, layout: Variant, num_classes: int, in_channels: int) -> None:
        super().__init__()
        require_positive(num_classes=num_classes, in_channels=in_channels)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.min_size, self.max_size = layout.min_size, layout.max_size

    def check(self, images: Tensor) -> None:
        """Checks the shape of images.

        Raises:
            ValueError: If the network does not take such images; says which it takes.
        """
        check_images(images, type(self).__name__, self.in_channels, self.min_size, self.max_size)


# torch.fx does not look inside: its symbolic images have no shape.
@torch.fx.wrap
def check_images(images: Tensor, name: str, in_channels: int, min_size: int, max_size: int | None) -> None:
    """Raises a ValueError unless images are (N, in_channels, H, W) with H and W from ``min_size`` to ``max_size``."""
    # torch.jit.trace replaces sizes by tensors. A tracer's images were checked before.
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call] # public, but without types
        return
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[1] != in_channels:
        raise ValueError(f"{name} takes images of shape (N, {in_channels}, H, W), got {shape}")
    if min(shape[2:]) < min_size or (max_size is not None and max(shape[2:]) > max_size):
        raise ValueError(f"{name} takes {describe_range(min_size, max_size)}, got {shape[2]}×{shape[3]}")


def describe_range(smallest: int, largest: int | None) -> str:
    """A range of sizes in words: "images of 28×28 to 31×31", "images of at least 15×15"."""
    if largest is None:
        return f"images of at least {smallest}×{smallest}"
    return f"images of {smallest}×{smallest}" + (f" to {largest}×{largest}" if largest > smallest else "")


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards each module is in its own mode again, for example frozen ones in evaluation."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
