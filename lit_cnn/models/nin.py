"""Network in network: convolutions followed by 1×1 convolutions; the average of a map for each class is its logit.

Source: Lin, Chen and Yan 2014, "Network in network", arXiv:1312.4400.
"""

from dataclasses import dataclass
from itertools import compress
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from lit_cnn.layers import MLPConv, initialise, kaiming_
from lit_cnn.layers.checks import require_probability
from lit_cnn.network.base import Network, Variant, Variants
from lit_cnn.training.classifier import LitClassifier

# Among the widths, stands for the number of classes.
CLASSES = 0


class Stage(NamedTuple):
    """An MLPConv layer and the pooling after it."""

    widths: tuple[int, ...]
    kernel_size: int
    stride: int = 1
    padding: int = 0
    pool: str | None = None  # max or avg, 3×3 with stride 2
    dropout: bool = False  # after the pooling


@dataclass(frozen=True, kw_only=True)
class Layout(Variant):
    """What differs between variants of NiN."""

    stages: tuple[Stage, ...]
    ceil_mode: bool  # whether pooling rounds sizes up
    last_relu: bool  # whether a ReLU follows the maps of the classes


VARIANTS = Variants(
    # The network that the authors published for CIFAR-10 with Caffe, whose pooling rounds up. Deviates: no last ReLU. With
    # it, a class gets no gradient while its logit is negative for every image.
    nin_cifar=Layout(
        paper="Lin et al. 2014", image_size=32, min_size=4, num_classes=10, ceil_mode=True, last_relu=False,
        accuracy="91.19 % CIFAR-10 (paper)",
        stages=(
            Stage((192, 160, 96), kernel_size=5, padding=2, pool="max", dropout=True),
            Stage((192, 192, 192), kernel_size=5, padding=2, pool="avg", dropout=True),
            Stage((192, 192, CLASSES), kernel_size=3, padding=1),
        ),
    ),
    # d2l.ai, Sec. 8.3: AlexNet's convolutions, and a ReLU on the logits.
    nin_d2l=Layout(
        paper="Lin et al. 2014", image_size=224, min_size=67, in_channels=1, num_classes=10, ceil_mode=False, last_relu=True,
        accuracy="79.0 % Fashion-MNIST (d2l.ai)",
        stages=(
            Stage((96, 96, 96), kernel_size=11, stride=4, pool="max"),
            Stage((256, 256, 256), kernel_size=5, padding=2, pool="max"),
            Stage((384, 384, 384), kernel_size=3, padding=1, pool="max", dropout=True),
            Stage((CLASSES, CLASSES, CLASSES), kernel_size=3, padding=1),
        ),
    ),
)  # fmt: skip


class NiN(Network):
    """Network in network.

    Args:
        layout: The variant.
        num_classes: Outputs.
        in_channels: Channels of the input.
        dropout: Probability of dropping a feature between stages.
    Shape:
        Input (N, in_channels, H, W); output (N, num_classes).
    Raises:
        ValueError: If a count is below 1, or the dropout is not a probability.
    """

    def __init__(self, layout: Layout, num_classes: int = 10, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__(layout, num_classes, in_channels)
        require_probability(dropout=dropout)
        pooling = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}
        self.features = nn.Sequential()
        width = in_channels
        for stage in layout.stages:
            widths = [num_classes if channels == CLASSES else channels for channels in stage.widths]
            last_relu = layout.last_relu or stage is not layout.stages[-1]
            self.features.append(MLPConv(width, widths, stage.kernel_size, stage.stride, stage.padding, last_relu))
            if stage.pool:
                self.features.append(pooling[stage.pool](kernel_size=3, stride=2, ceil_mode=layout.ceil_mode))
            if stage.dropout:
                self.features.append(nn.Dropout(dropout))
            width = widths[-1]
        # The layers that output the classes.
        last = [name for name, module in self.features[-1].named_modules() if isinstance(module, nn.Conv2d)]
        of_classes = [channels == CLASSES for channels in layout.stages[-1].widths]
        self.heads = tuple(f"features.{len(self.features) - 1}.{name}" for name in compress(last, of_classes))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        initialise(self, kaiming_)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return self.avgpool(self.features(x)).flatten(1)


class LitNiN(LitClassifier):
    """Trains a network in network.

    Args:
        num_classes: Outputs.
        in_channels: Channels of the images, 1 or 3.
        variant: ``nin_cifar`` is the paper's for CIFAR-10, ``nin_d2l`` d2l.ai's.
        dropout: Probability of dropping a feature between stages.
        kwargs: Arguments of :class:`lit_cnn.training.classifier.LitClassifier`.
    """

    training_only = ("dropout",)

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        variant: Literal[tuple(VARIANTS)] = "nin_cifar",
        dropout: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(NiN(VARIANTS[variant], num_classes, in_channels, dropout), num_classes, in_channels, **kwargs)
