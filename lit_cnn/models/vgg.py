"""VGG: stages of 3×3 convolutions; a pooling after each stage halves the size.

Source: Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", arXiv:1409.1556.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lit_cnn.layers import initialise, kaiming_
from lit_cnn.layers.checks import require_probability
from lit_cnn.network.base import Network, Variant, Variants
from lit_cnn.training.classifier import LitClassifier

# Convolutions in each stage by depth, from the paper's Table 1; depth 8 is not in the paper.
DEPTHS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
# Top-1 accuracies in %: ImageNet with torchvision's weights, without and with BatchNorm.
IMAGENET = {11: (69.02, 70.37), 13: (69.93, 71.59), 16: (71.59, 73.36), 19: (72.38, 74.22)}

DROPOUT = 0.5  # the paper's


@dataclass(frozen=True, kw_only=True)
class Layout(Variant):
    """What differs between variants of VGG."""

    min_size: int = 32
    convolutions: tuple[int, ...]  # in each stage
    channels: tuple[int, ...] = (64, 128, 256, 512, 512)
    batch_norm: bool
    hidden: int | None = 4096  # outputs of the two hidden linear layers; None for no hidden layers
    pooled: int = 7  # height and width before the linear layers


PAPER = "Simonyan and Zisserman 2015"
VARIANTS = Variants(
    # torchvision's: A, B, D and E of the paper's Table 1.
    {
        f"vgg{depth}{'_bn' if batch_norm else ''}": Layout(
            paper=PAPER, image_size=224, convolutions=DEPTHS[depth], batch_norm=batch_norm,
            accuracy=f"{accuracies[batch_norm]} % ImageNet (torchvision)",
        )
        for depth, accuracies in IMAGENET.items()
        for batch_norm in (False, True)
    }
    # For 32×32 images: the last stage gives 1×1 and no hidden layers follow. So there are two layers fewer than in the name.
    | {
        f"vgg{depth}{'_bn' if batch_norm else ''}_small": Layout(
            paper=PAPER, image_size=32, num_classes=10, convolutions=DEPTHS[depth], batch_norm=batch_norm,
            hidden=None, pooled=1,
        )
        for depth in DEPTHS
        for batch_norm in (False, True)
    }
    # d2l.ai, Sec. 8.2: a quarter of the channels.
    | {
        "vgg11_d2l": Layout(
            paper=PAPER, image_size=224, in_channels=1, num_classes=10, convolutions=DEPTHS[11],
            channels=(16, 32, 64, 128, 128), batch_norm=False, accuracy="92.0 % Fashion-MNIST (d2l.ai)",
        )
    }
)  # fmt: skip


class VGG(Network):
    """VGG.

    Deviates from the paper: averages to 7×7 before the linear layers, as torchvision does, so that it takes other sizes than
    224×224 too. Kaiming's initialisation; the paper started from the weights of a shallower network.

    Args:
        layout: The variant.
        num_classes: Outputs.
        in_channels: Channels of the input.
        dropout: Probability of dropping a feature of the hidden linear layers.
    Shape:
        Input (N, in_channels, H, W), at least 32×32; output (N, num_classes).
    Raises:
        ValueError: If a count is below 1, the dropout is not a probability, or it is given to a variant without such layers.
    """

    def __init__(self, layout: Layout, num_classes: int = 1000, in_channels: int = 3, dropout: float = DROPOUT) -> None:
        super().__init__(layout, num_classes, in_channels)
        require_probability(dropout=dropout)
        if dropout != DROPOUT and not layout.hidden:
            raise ValueError(f"dropout={dropout:g} has no effect without hidden linear layers: leave it out")
        stages: list[nn.Module] = []
        width = in_channels
        for num_convolutions, channels in zip(layout.convolutions, layout.channels, strict=True):
            for _ in range(num_convolutions):
                stages.append(nn.Conv2d(width, channels, kernel_size=3, padding=1))
                if layout.batch_norm:
                    stages.append(nn.BatchNorm2d(channels))
                stages.append(nn.ReLU(inplace=True))
                width = channels
            stages.append(nn.MaxPool2d(kernel_size=2, stride=2))
        self.features = nn.Sequential(*stages)  # (N, 512, 7, 7) of a 224×224 input
        self.avgpool = nn.AdaptiveAvgPool2d(layout.pooled)
        linear: list[nn.Module] = []
        width *= layout.pooled**2
        for _ in range(2 if layout.hidden else 0):
            linear += [nn.Linear(width, layout.hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)]
            width = layout.hidden
        self.classifier = nn.Sequential(*linear, nn.Linear(width, num_classes))
        initialise(self, kaiming_)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


class LitVGG(LitClassifier):
    """Trains a VGG.

    Args:
        num_classes: Outputs.
        in_channels: Channels of the images, 1 or 3.
        variant: ``vgg11`` to ``vgg19`` are torchvision's, ``…_bn`` with BatchNorm, ``…_small`` without the two hidden
            linear layers, for images of 32×32 or more; ``vgg11_d2l`` is d2l.ai's.
        dropout: Probability of dropping a feature of the hidden linear layers, which ``…_small`` do not have.
        kwargs: Arguments of :class:`lit_cnn.training.classifier.LitClassifier`.
    """

    training_only = ("dropout",)

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        variant: Literal[tuple(VARIANTS)] = "vgg11_bn_small",
        dropout: float = DROPOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(VGG(VARIANTS[variant], num_classes, in_channels, dropout), num_classes, in_channels, **kwargs)
