"""Blocks of the residual networks.

Sources: He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", arXiv:1512.03385 (v1); the same,
"Identity mappings in deep residual networks", arXiv:1603.05027 (v2, pre-activation).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from lit_cnn.layers.checks import require_choice, require_positive

# The shortcut where the shape changes: zeros for new channels (the paper's option A) or a 1×1 convolution (option B).
# `none` is a plain network without any shortcuts.
Shortcut = Literal["zeros", "projection", "none"]
SHORTCUTS = ("zeros", "projection", "none")


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)


class ZeroPadding(nn.Module):
    """Option A: takes every ``stride``-th pixel and adds channels of zeros; no parameters.

    Source: v1, Sec. 3.3. The paper does not say where the zeros go. Here one half comes before x and the other after it.

    Shape:
        Input (N, in_channels, H, W); output (N, out_channels, ⌈H / stride⌉, ⌈W / stride⌉).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        added = out_channels - in_channels
        self.padding = (0, 0, 0, 0, added // 2, added - added // 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.padding)


class _Block(nn.Module):
    """Base of the blocks: the shortcut around the convolutions."""

    # Output channels for each channel of the inner convolutions.
    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: Shortcut, norm: bool = True) -> None:
        super().__init__()
        require_positive(in_channels=in_channels, channels=channels, stride=stride)
        require_choice(SHORTCUTS, shortcut=shortcut)
        out_channels = channels * self.expansion
        if shortcut == "zeros" and out_channels < in_channels:
            raise ValueError(f"shortcut zeros cannot make {out_channels} channels of {in_channels}: use projection")
        self.plain = shortcut == "none"
        self.downsample: nn.Module | None = None
        if stride == 1 and in_channels == out_channels:
            return
        if shortcut == "zeros":
            self.downsample = ZeroPadding(in_channels, out_channels, stride)
        elif shortcut == "projection":
            normalised = [nn.BatchNorm2d(out_channels)] if norm else []
            self.downsample = nn.Sequential(conv1x1(in_channels, out_channels, stride), *normalised)

    def skip(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)


class BasicBlock(_Block):
    """Two 3×3 convolutions and a shortcut around them.

    Source: v1, Fig. 5 left.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        stride: Of the first convolution.
        shortcut: Which shortcut where the shape changes; ``none`` for no shortcut in any block.
    Shape:
        Input (N, in_channels, H, W); output (N, channels, ⌈H / stride⌉, ⌈W / stride⌉).
    Raises:
        ValueError: If a count is below 1, or the shortcut is unknown or cannot be made.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1, shortcut: Shortcut = "projection") -> None:
        super().__init__(in_channels, channels, stride, shortcut)
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out if self.plain else out + self.skip(x))


class Bottleneck(_Block):
    """A 3×3 convolution between two 1×1 ones, which reduce and restore the channels, and a shortcut around them.

    Source: v1, Fig. 5 right.
    Deviates: the 3×3 convolution has the stride, not the first 1×1 one, so that it reads all pixels. torchvision and its
    weights do the same.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the 3×3 convolution; the output has four times as many.
        stride: Of the 3×3 convolution.
        shortcut: Which shortcut where the shape changes; ``none`` for no shortcut in any block.
    Shape:
        Input (N, in_channels, H, W); output (N, 4 channels, ⌈H / stride⌉, ⌈W / stride⌉).
    Raises:
        ValueError: If a count is below 1.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1, shortcut: Shortcut = "projection") -> None:
        super().__init__(in_channels, channels, stride, shortcut)
        self.conv1 = conv1x1(in_channels, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, channels * self.expansion)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(out)))))
        return F.relu(out if self.plain else out + self.skip(x))


class PreActBasicBlock(_Block):
    """A basic block with BatchNorm and ReLU before each convolution, so that the shortcut is the identity.

    Source: v2, Fig. 4(e). Where the shape changes, the shortcut starts after the first activation.

    Args, Shape, Raises: as :class:`BasicBlock`. The network applies BatchNorm and ReLU after the last block.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1, shortcut: Shortcut = "projection") -> None:
        super().__init__(in_channels, channels, stride, shortcut, norm=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        shortcut: Tensor = x if self.downsample is None else self.downsample(active)
        return out + shortcut


class PreActBottleneck(_Block):
    """A bottleneck with BatchNorm and ReLU before each convolution.

    Source: v2, Fig. 4(e). Where the shape changes, the shortcut starts after the first activation.

    Args, Shape, Raises: as :class:`Bottleneck`. The network applies BatchNorm and ReLU after the last block.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1, shortcut: Shortcut = "projection") -> None:
        super().__init__(in_channels, channels, stride, shortcut, norm=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv1x1(in_channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, stride)
        self.bn3 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, channels * self.expansion)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        out = self.conv3(F.relu(self.bn3(out)))
        shortcut: Tensor = x if self.downsample is None else self.downsample(active)
        return out + shortcut


class Residual(nn.Module):
    """The chapter's block, which is d2l.ai's (Sec. 8.6).

    Deviates from the paper: convolutions with biases, which the BatchNorm after them cancels, and a projection without
    BatchNorm.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        stride: Of the first convolution. If it is not 1 or the channels change, the shortcut is a 1×1 convolution.
    Shape:
        Input (N, in_channels, H, W); output (N, channels, ⌈H / stride⌉, ⌈W / stride⌉).
    Raises:
        ValueError: If a count is below 1.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        require_positive(in_channels=in_channels, channels=channels, stride=stride)
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, stride=stride)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        changes = stride != 1 or in_channels != channels
        self.conv3 = nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride) if changes else None
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + (x if self.conv3 is None else self.conv3(x)))
