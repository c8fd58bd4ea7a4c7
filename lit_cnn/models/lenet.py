"""LeNet: convolution, pooling, convolution, pooling, three linear layers.

Source: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition", Fig. 2.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch.fx
from torch import Tensor, nn
from torch.nn import functional as F

from lit_cnn import layers
from lit_cnn.layers.checks import require_choice
from lit_cnn.network.base import Network, Variant, Variants
from lit_cnn.training.classifier import LitClassifier


@dataclass(frozen=True, kw_only=True)
class Layout(Variant):
    """What differs between variants of LeNet."""

    border: bool  # around images that are smaller than the paper's
    batch_norm: bool


VARIANTS = Variants(
    # The paper's 32×32 input, or 28×28 with a border of two pixels.
    lenet=Layout(
        paper="LeCun et al. 1998", image_size=28, min_size=28, max_size=35, in_channels=1, num_classes=10,
        border=True, batch_norm=False, accuracy="77.9 % Fashion-MNIST (d2l.ai)",
    ),
    # d2l.ai, Sec. 8.5: BatchNorm before each activation, no border.
    lenet_bn=Layout(
        paper="Ioffe and Szegedy 2015", image_size=28, min_size=28, max_size=31, in_channels=1, num_classes=10,
        border=False, batch_norm=True, accuracy="80.7 % Fashion-MNIST (d2l.ai)",
    ),
)  # fmt: skip

ACTIVATIONS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu": nn.ReLU}
POOLINGS = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}
# The BatchNorms after convolutions and after linear layers: torch's, or the one written out in lit_cnn.layers.
BATCH_NORMS = {
    "torch": (nn.BatchNorm2d, nn.BatchNorm1d),
    "lit_cnn": (layers.BatchNorm2d, layers.BatchNorm1d),
}


class LeNet(Network):
    """LeNet for images of 32×32, or of 28×28, which get a border of two pixels of zero: the mean grey of
    normalised images.

    Deviates from the paper, as most implementations do: pooling has no coefficients, the second convolution reads all maps
    of the first, and a linear layer replaces the radial basis functions. ``tanh`` is not scaled (paper: 1.7159 tanh(2x/3)).
    Weights start as PyTorch's layers do, uniform within ±1 / √fan_in (paper: ±2.4 / fan_in; d2l.ai: Xavier).

    Args:
        layout: The variant.
        num_classes: Outputs.
        in_channels: Channels of the input.
        activation: Name of the function after each layer except the last.
        pooling: Name of the pooling.
        batch_norm: Which BatchNorm a variant with BatchNorm uses.
    Shape:
        Input (N, in_channels, 32, 32) or (N, in_channels, 28, 28), the latter alone with ``lenet_bn``; output
        (N, num_classes).
    Raises:
        ValueError: If a count is below 1, a name is unknown, or ``batch_norm`` is given for a variant without BatchNorm.
    """

    def __init__(
        self,
        layout: Layout,
        num_classes: int = 10,
        in_channels: int = 1,
        activation: str = "tanh",
        pooling: str = "avg",
        batch_norm: str = "torch",
    ) -> None:
        super().__init__(layout, num_classes, in_channels)
        require_choice(ACTIVATIONS, activation=activation)
        require_choice(POOLINGS, pooling=pooling)
        require_choice(BATCH_NORMS, batch_norm=batch_norm)
        if batch_norm != "torch" and not layout.batch_norm:
            raise ValueError(f"batch_norm={batch_norm} needs a variant with BatchNorm, lenet_bn")
        act, pool = ACTIVATIONS[activation], POOLINGS[pooling]
        norm_2d, norm_1d = BATCH_NORMS[batch_norm]

        def norm(layer: type[nn.Module], num_features: int) -> list[nn.Module]:
            return [layer(num_features)] if layout.batch_norm else []

        # Shapes: with the border (lenet), or without (lenet_bn).
        self.border = layout.border
        size = 5 if layout.border else 4
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, kernel_size=5),  # (N, 6, 28, 28) or (N, 6, 24, 24)
            *norm(norm_2d, 6),
            act(),
            pool(kernel_size=2, stride=2),  # (N, 6, 14, 14) or (N, 6, 12, 12)
            nn.Conv2d(6, 16, kernel_size=5),  # (N, 16, 10, 10) or (N, 16, 8, 8)
            *norm(norm_2d, 16),
            act(),
            pool(kernel_size=2, stride=2),  # (N, 16, 5, 5) or (N, 16, 4, 4)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * size * size, 120),
            *norm(norm_1d, 120),
            act(),
            nn.Linear(120, 84),
            *norm(norm_1d, 84),
            act(),
            nn.Linear(84, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        if self.border:
            x = widen(x)
        return self.classifier(self.features(x))


# torch.fx does not look inside: its symbolic images have no shape.
@torch.fx.wrap
def widen(images: Tensor) -> Tensor:
    """Puts a border of two zeros around images that are smaller than 32×32."""
    vertical, horizontal = (2 if size < 32 else 0 for size in images.shape[2:])
    return F.pad(images, (horizontal, horizontal, vertical, vertical)) if horizontal or vertical else images


class LitLeNet(LitClassifier):
    """Trains a LeNet. It takes images of 32×32 as the paper's does, and of 28×28.

    Args:
        num_classes: Outputs.
        in_channels: Channels of the images, 1 or 3.
        variant: ``lenet``, or ``lenet_bn`` with BatchNorm in the layout of d2l.ai.
        activation: ``tanh`` as in the paper, ``sigmoid`` as in d2l.ai, or ``relu``.
        pooling: ``avg`` as in the paper, or ``max``.
        batch_norm: ``torch``, or ``lit_cnn`` for the one written out in :mod:`lit_cnn.layers.batch_norm`.
        kwargs: Arguments of :class:`lit_cnn.training.classifier.LitClassifier`.
    """

    training_only = ("batch_norm",)

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        variant: Literal[tuple(VARIANTS)] = "lenet",
        activation: Literal[tuple(ACTIVATIONS)] = "tanh",
        pooling: Literal[tuple(POOLINGS)] = "avg",
        batch_norm: Literal[tuple(BATCH_NORMS)] = "torch",
        **kwargs: Any,
    ) -> None:
        network = LeNet(VARIANTS[variant], num_classes, in_channels, activation, pooling, batch_norm)
        super().__init__(network, num_classes, in_channels, **kwargs)
