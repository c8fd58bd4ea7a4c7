"""Convolutions with the layers that follow them, for several networks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from lit_cnn.layers.checks import require_positive


def conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    batch_norm: bool = False,
    eps: float = 1e-5,
    stride: int = 1,
    padding: int = 0,
) -> nn.Sequential:
    """Convolution and ReLU, with BatchNorm between them or a bias.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Height and width of the kernel.
        batch_norm: Whether to normalise; otherwise the convolution has a bias.
        eps: Added to the variance by the BatchNorm.
        stride: Of the convolution.
        padding: Of the convolution.
    Shape:
        Input (N, in_channels, H, W); output (N, out_channels, H', W').
    Raises:
        ValueError: If a count is below 1.
    """
    require_positive(in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size)
    layers = OrderedDict[str, nn.Module](
        conv=nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=not batch_norm)
    )
    if batch_norm:
        layers["bn"] = nn.BatchNorm2d(out_channels, eps=eps)
    return nn.Sequential(layers | OrderedDict(relu=nn.ReLU(inplace=True)))


class MLPConv(nn.Sequential):
    """A convolution followed by 1×1 convolutions: a small perceptron that slides over the image.

    Source: Lin, Chen and Yan 2014, "Network in network", arXiv:1312.4400, Sec. 3.1.

    Args:
        in_channels: Channels of the input.
        widths: Channels after the convolution and after each 1×1 convolution.
        kernel_size: Of the first convolution.
        stride: Of the first convolution.
        padding: Of the first convolution.
        last_relu: Whether a ReLU follows the last convolution too.
    Shape:
        Input (N, in_channels, H, W); output (N, widths[-1], H', W').
    Raises:
        ValueError: If a count is below 1, or there are no widths.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        last_relu: bool = True,
    ) -> None:
        if not widths:
            raise ValueError("widths must name at least one layer, got none")
        layers = list(conv(in_channels, widths[0], kernel_size, stride=stride, padding=padding))
        for before, after in pairwise(widths):
            layers += conv(before, after, 1)
        super().__init__(*(layers if last_relu else layers[:-1]))


def local_response_norm(k: float, alpha: float, num_channels: int = 5, beta: float = 0.75) -> nn.LocalResponseNorm:
    """Divides each value by a sum over its neighbours in the channels: ``a / (k + alpha Σ a²)^beta``.

    Source: Krizhevsky et al. 2012, Sec. 3.3.

    torch, like Caffe, divides ``alpha`` by the number of neighbours. Here ``alpha`` is the paper's.

    Shape:
        Input (N, C, H, W); output the same.
    """
    return nn.LocalResponseNorm(num_channels, alpha=alpha * num_channels, beta=beta, k=k)
