"""LeNet: convolution, pooling, convolution, pooling, three linear layers.

Source: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition", Fig. 2.
"""

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from lit_cnn.classifier import LitClassifier


@dataclass(frozen=True)
class Layout:
    """What tells one LeNet from another."""

    padding: int  # of the first convolution
    batch_norm: bool


VARIANTS = {
    # The paper's 32×32 input, as 28×28 with a border of two pixels.
    "lenet": Layout(padding=2, batch_norm=False),
    # d2l.ai, Sec. 8.5: normalised before each activation, no border.
    "lenet_bn": Layout(padding=0, batch_norm=True),
}

ACTIVATIONS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu": nn.ReLU}
POOLINGS = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}


class LeNet(nn.Sequential):
    """LeNet for 28×28 images.

    Deviates from the paper, like most of its descendants: no sub-sampling coefficients, a second convolution that sees all
    maps of the first, and a linear layer in place of the radial basis functions.

    Args:
        layout: The variant.
        num_classes: Outputs.
        in_channels: Channels of the input.
        activation: Name of the function after each layer but the last.
        pooling: Name of the sub-sampling.
    Shape:
        Input (N, in_channels, 28, 28); output (N, num_classes).
    """

    def __init__(
        self,
        layout: Layout,
        num_classes: int = 10,
        in_channels: int = 1,
        activation: str = "tanh",
        pooling: str = "avg",
    ) -> None:
        act, pool = ACTIVATIONS[activation], POOLINGS[pooling]

        def norm(layer: type[nn.Module], num_features: int) -> list[nn.Module]:
            return [layer(num_features)] if layout.batch_norm else []

        # Shapes without and with BatchNorm, whose layout has no border.
        size = 5 if layout.padding else 4
        super().__init__(
            nn.Conv2d(in_channels, 6, kernel_size=5, padding=layout.padding),  # (N, 6, 28, 28) or (N, 6, 24, 24)
            *norm(nn.BatchNorm2d, 6),
            act(),
            pool(kernel_size=2, stride=2),  # (N, 6, 14, 14) or (N, 6, 12, 12)
            nn.Conv2d(6, 16, kernel_size=5),  # (N, 16, 10, 10) or (N, 16, 8, 8)
            *norm(nn.BatchNorm2d, 16),
            act(),
            pool(kernel_size=2, stride=2),  # (N, 16, 5, 5) or (N, 16, 4, 4)
            nn.Flatten(),
            nn.Linear(16 * size * size, 120),
            *norm(nn.BatchNorm1d, 120),
            act(),
            nn.Linear(120, 84),
            *norm(nn.BatchNorm1d, 84),
            act(),
            nn.Linear(84, num_classes),
        )


class LitLeNet(LitClassifier):
    """Trains a LeNet. It takes 28×28 images.

    Args:
        num_classes: Outputs.
        in_channels: Channels of the images, 1 or 3.
        variant: ``lenet``, or ``lenet_bn`` with BatchNorm in the layout of d2l.ai.
        activation: ``tanh`` as in the paper, ``sigmoid`` as in d2l.ai, or ``relu``.
        pooling: ``avg`` as in the paper, or ``max``.
        kwargs: Arguments of :class:`lit_cnn.classifier.LitClassifier`.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        variant: Literal[tuple(VARIANTS)] = "lenet",
        activation: Literal[tuple(ACTIVATIONS)] = "tanh",
        pooling: Literal[tuple(POOLINGS)] = "avg",
        **kwargs: Any,
    ) -> None:
        network = LeNet(VARIANTS[variant], num_classes, in_channels, activation, pooling)
        super().__init__(network, num_classes, in_channels, **kwargs)
