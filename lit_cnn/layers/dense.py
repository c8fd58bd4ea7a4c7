"""Blocks of the densely connected networks.

Source: Huang, Liu, van der Maaten and Weinberger 2017, "Densely connected convolutional networks", arXiv:1608.06993.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from lit_cnn.layers.checks import require_positive


class DenseLayer(nn.Sequential):
    """BatchNorm, ReLU, 3×3 convolution; in a bottleneck after BatchNorm, ReLU, 1×1 convolution.

    Source: Sec. 3, "Composite function" and "Bottleneck layers".

    Args:
        in_channels: Channels of the input.
        growth_rate: Channels of the output.
        bottleneck: Whether a 1×1 convolution first reduces the channels to four times the growth rate.
        bias: Whether the 3×3 convolution has a bias, as d2l.ai's has.
    Shape:
        Input (N, in_channels, H, W); output (N, growth_rate, H, W).
    Raises:
        ValueError: If a count is below 1.
    """

    def __init__(self, in_channels: int, growth_rate: int, bottleneck: bool = False, bias: bool = False) -> None:
        require_positive(in_channels=in_channels, growth_rate=growth_rate)
        layers = OrderedDict[str, nn.Module](norm1=nn.BatchNorm2d(in_channels), relu1=nn.ReLU(inplace=True))
        if bottleneck:
            layers["conv1"] = nn.Conv2d(in_channels, 4 * growth_rate, kernel_size=1, bias=False)
            layers["norm2"] = nn.BatchNorm2d(4 * growth_rate)
            layers["relu2"] = nn.ReLU(inplace=True)
            layers["conv2"] = nn.Conv2d(4 * growth_rate, growth_rate, kernel_size=3, padding=1, bias=False)
        else:
            layers["conv1"] = nn.Conv2d(in_channels, growth_rate, kernel_size=3, padding=1, bias=bias)
        super().__init__(layers)


class DenseBlock(nn.Sequential):
    """Layers that each read the block's input and the outputs of all earlier layers.

    Layer l sees in_channels + (l - 1) growth_rate channels:

    >>> DenseBlock(num_layers=2, in_channels=3, growth_rate=10)(torch.zeros(4, 3, 8, 8)).shape
    torch.Size([4, 23, 8, 8])

    Args:
        num_layers: Number of layers.
        in_channels: Channels of the input.
        growth_rate: Channels that each layer adds.
        bottleneck: Whether the layers are bottlenecks.
        bias: Whether the layers' 3×3 convolutions have a bias.
    Shape:
        Input (N, in_channels, H, W); output (N, in_channels + num_layers * growth_rate, H, W).
    Raises:
        ValueError: If a count is below 1.
    """

    def __init__(
        self, num_layers: int, in_channels: int, growth_rate: int, bottleneck: bool = False, bias: bool = False
    ) -> None:
        require_positive(num_layers=num_layers, in_channels=in_channels, growth_rate=growth_rate)
        super().__init__(
            OrderedDict(
                (f"denselayer{index + 1}", DenseLayer(in_channels + index * growth_rate, growth_rate, bottleneck, bias))
                for index in range(num_layers)
            )
        )
        self.out_channels = in_channels + num_layers * growth_rate

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = torch.cat((x, layer(x)), dim=1)
        return x


class Transition(nn.Sequential):
    """BatchNorm, ReLU, 1×1 convolution and average pooling between two dense blocks.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        bias: Whether the convolution has a bias, as d2l.ai's has.
    Shape:
        Input (N, in_channels, H, W); output (N, out_channels, H / 2, W / 2).
    Raises:
        ValueError: If a count is below 1.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = False) -> None:
        require_positive(in_channels=in_channels, out_channels=out_channels)
        super().__init__(
            OrderedDict(
                norm=nn.BatchNorm2d(in_channels),
                relu=nn.ReLU(inplace=True),
                conv=nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=bias),
                pool=nn.AvgPool2d(kernel_size=2, stride=2),
            )
        )
