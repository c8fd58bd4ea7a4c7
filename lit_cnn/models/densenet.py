"""DenseNet: every layer reads the outputs of all layers before it.

Source: Huang, Liu, van der Maaten and Weinberger 2017, "Densely connected convolutional networks", arXiv:1608.06993.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_cnn.layers import DenseBlock, Transition, initialise, kaiming_
from lit_cnn.network.base import Network, Variant, Variants
from lit_cnn.training.classifier import LitClassifier


@dataclass(frozen=True, kw_only=True)
class Layout(Variant):
    """What differs between variants of DenseNet."""

    paper: str = "Huang et al. 2017"
    num_layers: tuple[int, ...]  # in each dense block
    growth_rate: int
    num_init_features: int  # channels after the first convolution
    bottleneck: bool = True
    compression: float = 0.5  # share of the channels that a transition keeps
    bias: bool = False  # of the convolutions
    small: bool = False  # for 32×32 images: the first block has the full size


VARIANTS = Variants(
    # torchvision's: Table 1.
    densenet121=Layout(
        image_size=224, min_size=29, num_layers=(6, 12, 24, 16), growth_rate=32, num_init_features=64,
        accuracy="74.43 % ImageNet (torchvision)",
    ),
    densenet161=Layout(
        image_size=224, min_size=29, num_layers=(6, 12, 36, 24), growth_rate=48, num_init_features=96,
        accuracy="77.14 % ImageNet (torchvision)",
    ),
    densenet169=Layout(
        image_size=224, min_size=29, num_layers=(6, 12, 32, 32), growth_rate=32, num_init_features=64,
        accuracy="75.60 % ImageNet (torchvision)",
    ),
    densenet201=Layout(
        image_size=224, min_size=29, num_layers=(6, 12, 48, 32), growth_rate=32, num_init_features=64,
        accuracy="76.90 % ImageNet (torchvision)",
    ),
    # The paper's for CIFAR, Sec. 3 and 4.2: one with bottleneck and compression, one without.
    densenet_bc_100_12=Layout(
        image_size=32, min_size=4, num_classes=10, small=True, num_layers=(16, 16, 16), growth_rate=12, num_init_features=24,
        accuracy="95.49 % CIFAR-10 (paper)",
    ),
    densenet_40_12=Layout(
        image_size=32, min_size=4, num_classes=10, small=True, num_layers=(12, 12, 12), growth_rate=12, num_init_features=16,
        bottleneck=False, compression=1.0, accuracy="94.76 % CIFAR-10 (paper)",
    ),
    # d2l.ai, Sec. 8.7.
    densenet_d2l=Layout(
        image_size=96, min_size=29, in_channels=1, num_classes=10, num_layers=(4, 4, 4, 4), growth_rate=32,
        num_init_features=64, bottleneck=False, bias=True, accuracy="88.5 % Fashion-MNIST (d2l.ai)",
    ),
)  # fmt: skip


class DenseNet(Network):
    """DenseNet.

    Args:
        layout: The variant.
        num_classes: Outputs.
        in_channels: Channels of the input.
    Shape:
        Input (N, in_channels, H, W); output (N, num_classes). Shapes below: ``densenet121`` at 224×224.
    Raises:
        ValueError: If a count is below 1.
    """

    def __init__(self, layout: Layout, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__(layout, num_classes, in_channels)
        channels = layout.num_init_features
        if layout.small:
            conv0 = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=layout.bias)
            features = OrderedDict[str, nn.Module](conv0=conv0)
        else:
            features = OrderedDict[str, nn.Module](
                conv0=nn.Conv2d(in_channels, channels, kernel_size=7, stride=2, padding=3, bias=layout.bias),
                norm0=nn.BatchNorm2d(channels),
                relu0=nn.ReLU(inplace=True),  # (N, 64, 112, 112)
                pool0=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),  # (N, 64, 56, 56)
            )
        for index, num_layers in enumerate(layout.num_layers, start=1):
            # (N, 256, 56, 56), (N, 512, 28, 28), (N, 1024, 14, 14), (N, 1024, 7, 7)
            block = DenseBlock(num_layers, channels, layout.growth_rate, layout.bottleneck, layout.bias)
            features[f"denseblock{index}"] = block
            channels = block.out_channels
            if index < len(layout.num_layers):
                # (N, 128, 28, 28), (N, 256, 14, 14), (N, 512, 7, 7)
                kept = int(channels * layout.compression)
                features[f"transition{index}"] = Transition(channels, kept, layout.bias)
                channels = kept
        features["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        initialise(self, kaiming_)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(self.avgpool(x), 1))


class LitDenseNet(LitClassifier):
    """Trains a DenseNet.

    Args:
        num_classes: Outputs.
        in_channels: Channels of the images, 1 or 3.
        variant: ``densenet121`` to ``densenet201`` are torchvision's; ``densenet_bc_100_12`` and ``densenet_40_12`` the
            paper's for 32×32 images; ``densenet_d2l`` is d2l.ai's.
        kwargs: Arguments of :class:`lit_cnn.training.classifier.LitClassifier`.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        variant: Literal[tuple(VARIANTS)] = "densenet121",
        **kwargs: Any,
    ) -> None:
        super().__init__(DenseNet(VARIANTS[variant], num_classes, in_channels), num_classes, in_channels, **kwargs)
