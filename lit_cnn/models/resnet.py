"""ResNet: blocks that add their output to their input.

Sources: He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", arXiv:1512.03385; the same, "Identity
mappings in deep residual networks", arXiv:1603.05027, for the pre-activation ones.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from lit_cnn.layers import BasicBlock, Bottleneck, PreActBasicBlock, PreActBottleneck, Residual, initialise, kaiming_
from lit_cnn.layers.residual import Shortcut
from lit_cnn.network.base import Network, Variant, Variants
from lit_cnn.training.classifier import LitClassifier

# Table 1 of the first paper: block, pre-activation block, number in each stage, torchvision's top-1 on ImageNet in %.
IMAGENET = {
    18: (BasicBlock, PreActBasicBlock, (2, 2, 2, 2), "69.76"),
    34: (BasicBlock, PreActBasicBlock, (3, 4, 6, 3), "73.31"),
    50: (Bottleneck, PreActBottleneck, (3, 4, 6, 3), "76.13"),
    101: (Bottleneck, PreActBottleneck, (3, 4, 23, 3), "77.37"),
    152: (Bottleneck, PreActBottleneck, (3, 8, 36, 3), "78.31"),
}
# Sec. 4.2: 6n + 2 layers in three stages of n blocks, and the paper's top-1 accuracy on CIFAR-10 in %.
CIFAR = {20: "91.25", 32: "92.49", 44: "92.83", 56: "93.03", 110: "93.57"}


@dataclass(frozen=True, kw_only=True)
class Layout(Variant):
    """What differs between variants of ResNet."""

    block: type[nn.Module]
    num_blocks: tuple[int, ...]  # in each stage
    shortcut: Shortcut = "projection"
    small: bool = False  # for 32×32 images: three narrow stages, the first with the full size

    @property
    def pre_activation(self) -> bool:
        return self.block in (PreActBasicBlock, PreActBottleneck)


def for_imagenet(block: type[nn.Module], num_blocks: tuple[int, ...], **kwargs: Any) -> Layout:
    return Layout(paper="He et al. 2016", image_size=224, block=block, num_blocks=num_blocks, **kwargs)


def for_cifar(block: type[nn.Module], depth: int, **kwargs: Any) -> Layout:
    num_blocks = ((depth - 2) // 6,) * 3
    return Layout(
        paper="He et al. 2016", image_size=32, num_classes=10, block=block, num_blocks=num_blocks, small=True, **kwargs
    )


VARIANTS: Variants[Layout] = Variants()
for _depth, (_block, _pre, _num_blocks, _accuracy) in IMAGENET.items():
    # torchvision's, with option B; the same without shortcuts; the same with pre-activation.
    VARIANTS[f"resnet{_depth}"] = for_imagenet(_block, _num_blocks, accuracy=f"{_accuracy} % ImageNet (torchvision)")
    VARIANTS[f"plain{_depth}"] = for_imagenet(_block, _num_blocks, shortcut="none")
    VARIANTS[f"preact_resnet{_depth}"] = for_imagenet(_pre, _num_blocks)
for _depth, _accuracy in CIFAR.items():
    # The paper's, with option A; with option B; without shortcuts; with pre-activation.
    VARIANTS[f"resnet{_depth}"] = for_cifar(BasicBlock, _depth, shortcut="zeros", accuracy=f"{_accuracy} % CIFAR-10 (paper)")
    VARIANTS[f"resnet{_depth}_b"] = for_cifar(BasicBlock, _depth)
    VARIANTS[f"plain{_depth}"] = for_cifar(BasicBlock, _depth, shortcut="none")
    VARIANTS[f"preact_resnet{_depth}"] = for_cifar(PreActBasicBlock, _depth, shortcut="zeros")
# d2l.ai, Sec. 8.6, whose block is the chapter's.
VARIANTS["resnet18_d2l"] = Layout(
    paper="He et al. 2016", image_size=96, in_channels=1, num_classes=10, block=Residual, num_blocks=(2, 2, 2, 2),
    accuracy="89.3 % Fashion-MNIST (d2l.ai)",
)  # fmt: skip


class ResNet(Network):
    """ResNet.

    Deviates from the second paper: with pre-activation, the first block is like all others. In the paper, its activation
    comes before the shortcut.

    Args:
        layout: The variant.
        num_classes: Outputs.
        in_channels: Channels of the input.
        zero_init_residual: Whether each block starts as the identity, with zeros as the scale of its last BatchNorm (Goyal
            et al. 2017, arXiv:1706.02677, Sec. 5.1).
    Shape:
        Input (N, in_channels, H, W); output (N, num_classes). Shapes below: basic blocks at 224×224, or small ones at 32×32.
    Raises:
        ValueError: If a count is below 1, or ``zero_init_residual`` is true for a network without shortcuts or with
            pre-activation.
    """

    def __init__(
        self, layout: Layout, num_classes: int = 1000, in_channels: int = 3, zero_init_residual: bool = False
    ) -> None:
        super().__init__(layout, num_classes, in_channels)
        if zero_init_residual and (layout.pre_activation or layout.shortcut == "none"):
            raise ValueError(
                "zero_init_residual needs shortcuts, and blocks that end in BatchNorm: use resnet…, not plain… or preact_…"
            )
        width = 16 if layout.small else 64
        if layout.small:
            self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False)  # (N, 16, 32, 32)
        else:
            bias = layout.block is Residual
            self.conv1 = nn.Conv2d(in_channels, width, kernel_size=7, stride=2, padding=3, bias=bias)  # (N, 64, 112, 112)
        self.bn1 = nn.Identity() if layout.pre_activation else nn.BatchNorm2d(width)
        self.relu = nn.Identity() if layout.pre_activation else nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if layout.small else nn.MaxPool2d(kernel_size=3, stride=2, padding=1)  # (N, 64, 56, 56)
        shortcut = {} if layout.block is Residual else {"shortcut": layout.shortcut}
        channels = width
        for index, num_blocks in enumerate(layout.num_blocks):
            stage = nn.Sequential()
            for number in range(num_blocks):
                stride = 2 if index > 0 and number == 0 else 1
                stage.append(layout.block(channels, width, stride, **shortcut))
                channels = width * layout.block.expansion
            self.add_module(f"layer{index + 1}", stage)
            width *= 2
        if layout.small:
            self.layer4 = nn.Identity()
        self.norm = (
            nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True)) if layout.pre_activation else nn.Identity()
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self, kaiming_)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, layout.block):
                    nn.init.zeros_((module.bn3 if isinstance(module, Bottleneck) else module.bn2).weight)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 64, 56, 56)  small: (N, 16, 32, 32)
        x = self.layer1(x)  # (N, 64, 56, 56)     (N, 16, 32, 32)
        x = self.layer2(x)  # (N, 128, 28, 28)    (N, 32, 16, 16)
        x = self.layer3(x)  # (N, 256, 14, 14)    (N, 64, 8, 8)
        x = self.layer4(x)  # (N, 512, 7, 7)
        return self.fc(torch.flatten(self.avgpool(self.norm(x)), 1))


class LitResNet(LitClassifier):
    """Trains a ResNet.

    Args:
        num_classes: Outputs.
        in_channels: Channels of the images, 1 or 3.
        variant: ``resnet18`` to ``resnet152`` are torchvision's; ``resnet20`` to ``resnet110`` the paper's for 32×32
            images; ``…_b`` has projections where the shape changes; ``plain…`` has no shortcuts; ``preact_resnet…`` has
            pre-activation; ``resnet18_d2l`` is d2l.ai's.
        zero_init_residual: Whether each block starts as the identity; ``weights`` replace it.
        kwargs: Arguments of :class:`lit_cnn.training.classifier.LitClassifier`.
    """

    training_only = ("zero_init_residual",)

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        variant: Literal[tuple(VARIANTS)] = "resnet18",
        zero_init_residual: bool = False,
        **kwargs: Any,
    ) -> None:
        network = ResNet(VARIANTS[variant], num_classes, in_channels, zero_init_residual)
        if zero_init_residual and kwargs.get("weights") is not None:
            rank_zero_warn("zero_init_residual has no effect: weights replace all initial values; leave one of them out")
        super().__init__(network, num_classes, in_channels, **kwargs)
