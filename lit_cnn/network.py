"""What all networks have in common, and their tables of variants."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from torch import Tensor, nn

from lit_cnn.input_size import describe_sizes, takes
from lit_cnn.layers.counts import require_positive


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What every variant says of itself, whatever its architecture.

    Args:
        paper: Authors and year.
        image_size: Height and width of the images that it was made for, in pixels.
        in_channels: Channels of those.
        num_classes: Outputs that it was made with.
        accuracy: Published top-1 accuracy with its dataset and source; empty where there is none.
    """

    paper: str
    image_size: int
    in_channels: int = 3
    num_classes: int = 1000
    accuracy: str = ""


Layout = TypeVar("Layout", bound=Variant)


class Variants(dict[str, Layout]):
    """An architecture's variants by name.

    Raises:
        ValueError: If there is none of a name; offers the nearest.
    """

    def __missing__(self, name: str) -> Layout:
        raise ValueError(f"unknown variant {name!r}; {nearest(name, self)}")


def nearest(name: str, names: Any) -> str:
    """Names like one that does not exist: "did you mean …?", or all that there are."""
    near = difflib.get_close_matches(name, names, n=3)
    return f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(names)}"


class Network(nn.Module):
    """Base of the networks: images in, logits out. Says which images it takes when it is given others.

    Args:
        num_classes: Outputs.
        in_channels: Channels of the images.
    Shape:
        Input (N, in_channels, H, W); output (N, num_classes), in training and in evaluation alike.
    Raises:
        ValueError: If a count is below 1; when called, if the images have another number of channels or are too small.
    """

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        require_positive(num_classes=num_classes, in_channels=in_channels)
        self.num_classes = num_classes
        self.in_channels = in_channels

    def __call__(self, images: Tensor) -> Tensor:
        try:
            return super().__call__(images)
        except RuntimeError as error:
            # On the meta device it is being asked which sizes it takes.
            if images.is_meta:
                raise
            self._explain(images)
            raise error

    def _explain(self, images: Tensor) -> None:
        """Raises what is wrong with the images, if that is what is wrong."""
        name, shape = type(self).__name__, tuple(images.shape)
        if images.ndim != 4 or shape[1] != self.in_channels:
            raise ValueError(f"{name} takes images of shape (N, {self.in_channels}, H, W), got {shape}")
        takes_size = partial(takes, self, self.in_channels)
        if not takes_size(min(shape[2:])) or not takes_size(max(shape[2:])):
            raise ValueError(f"{name} takes {describe_sizes(takes_size)}, got {shape[2]}×{shape[3]}")
