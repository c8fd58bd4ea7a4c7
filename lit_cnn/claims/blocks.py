"""Blocks of the network for controlled experiments."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Pair(nn.Module):
    """Two 3×3 convolutions, with or without a shortcut around them.

    Source: He et al. 2016, arXiv:1512.03385, Fig. 5 left; the shortcut is a 1×1 convolution where the channels change.

    Args:
        convolve: Makes the layers of a convolution.
        make_activation: Makes an activation.
        in_channels: Channels of the input.
        width: Channels of the output.
        residual: Whether there is a shortcut.
    Shape:
        Input (N, in_channels, H, W); output (N, width, H, W).
    """

    def __init__(
        self,
        convolve: Callable[..., list[nn.Module]],
        make_activation: Callable[[], nn.Module],
        in_channels: int,
        width: int,
        residual: bool,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(*convolve(in_channels, width, 3), *convolve(width, width, 3, active=False))
        self.residual = residual
        self.shortcut: nn.Module = nn.Identity()
        if residual and in_channels != width:
            self.shortcut = nn.Sequential(*convolve(in_channels, width, 1, active=False))
        self.activation = make_activation()

    def forward(self, x: Tensor) -> Tensor:
        out = self.layers(x)
        return self.activation(out + self.shortcut(x) if self.residual else out)


class Branches(nn.Module):
    """Convolutions of 1×1, 3×3 and 5×5 and a pooling side by side, joined on channels.

    Source: Szegedy et al. 2015, arXiv:1409.4842, Fig. 2(b); the shares of the branches are those of its block 3a.

    Args:
        convolve: Makes the layers of a convolution.
        in_channels: Channels of the input.
        width: Channels of the output; a multiple of 8.
    Shape:
        Input (N, in_channels, H, W); output (N, width, H, W).
    Raises:
        ValueError: If the width is no multiple of 8.
    """

    def __init__(self, convolve: Callable[..., list[nn.Module]], in_channels: int, width: int) -> None:
        super().__init__()
        if width % 8:
            raise ValueError(f"the width of an inception block must be a multiple of 8, got {width}")
        eighth = width // 8
        self.branch1 = nn.Sequential(*convolve(in_channels, 2 * eighth, 1))
        self.branch2 = nn.Sequential(*convolve(in_channels, 3 * eighth, 1), *convolve(3 * eighth, 4 * eighth, 3))
        self.branch3 = nn.Sequential(*convolve(in_channels, eighth, 1), *convolve(eighth, eighth, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), *convolve(in_channels, eighth, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)
