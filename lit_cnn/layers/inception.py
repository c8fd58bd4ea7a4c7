"""The block of GoogLeNet."""

from collections import OrderedDict

from torch import nn

from lit_cnn.layers.convolution import conv
from lit_cnn.layers.parallel import Parallel


class Inception(Parallel):
    """Four parallel branches joined on channels.

    Source: Szegedy et al. 2015, arXiv:1409.4842, Fig. 2(b).
    Deviates from Fig. 2(a) without the reductions: the projection after the pooling stays. Without it, the channels would
    grow from block to block.

    Args:
        in_channels: Channels of the input.
        c1: Outputs of the 1×1 branch.
        c3_reduce: Outputs of the 1×1 convolution before the 3×3 one.
        c3: Outputs of the 3×3 branch.
        c5_reduce: Outputs of the 1×1 convolution before the 5×5 one.
        c5: Outputs of the 5×5 branch.
        pool_proj: Outputs of the 1×1 convolution after the pooling.
        batch_norm: Whether each convolution is normalised; otherwise it has a bias.
        kernel_5x5: Kernel size of the 5×5 branch, odd.
        reduce: Whether there are 1×1 convolutions before the 3×3 and 5×5 ones. If not, ``c3_reduce`` and ``c5_reduce`` are
            ignored.
    Shape:
        Input (N, in_channels, H, W); output (N, c1 + c3 + c5 + pool_proj, H, W).
    Raises:
        ValueError: If a count is below 1 or ``kernel_5x5`` is even.
    """

    def __init__(
        self,
        in_channels: int,
        c1: int,
        c3_reduce: int,
        c3: int,
        c5_reduce: int,
        c5: int,
        pool_proj: int,
        batch_norm: bool = False,
        kernel_5x5: int = 5,
        reduce: bool = True,
    ) -> None:
        if kernel_5x5 % 2 == 0:
            raise ValueError(f"kernel_5x5 must be odd, to keep the size, got {kernel_5x5}")

        def branch(reduced: int, channels: int, kernel_size: int) -> nn.Sequential:
            first = [conv(in_channels, reduced, 1, batch_norm, eps=1e-3)] if reduce else []
            width = reduced if reduce else in_channels
            last = conv(width, channels, kernel_size, batch_norm, eps=1e-3, padding=kernel_size // 2)
            return nn.Sequential(*first, last)

        super().__init__(
            OrderedDict(
                branch1=conv(in_channels, c1, 1, batch_norm, eps=1e-3),
                branch2=branch(c3_reduce, c3, 3),
                branch3=branch(c5_reduce, c5, kernel_5x5),
                branch4=nn.Sequential(
                    nn.MaxPool2d(kernel_size=3, stride=1, padding=1),
                    conv(in_channels, pool_proj, 1, batch_norm, eps=1e-3),
                ),
            )
        )
        self.out_channels = c1 + c3 + c5 + pool_proj
