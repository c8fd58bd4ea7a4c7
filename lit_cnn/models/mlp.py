"""A multilayer perceptron, the baseline for the convolutional networks.

Source: Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors".
"""

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from lit_cnn.layers import MultilayerPerceptron, initialise, kaiming_
from lit_cnn.network.base import Network, Variant, Variants
from lit_cnn.training.classifier import LitClassifier


@dataclass(frozen=True, kw_only=True)
class Layout(Variant):
    """What differs between variants of the perceptron."""

    hidden: int


VARIANTS = Variants(
    mlp=Layout(
        paper="Rumelhart et al. 1986", image_size=28, min_size=28, max_size=28, in_channels=1, num_classes=10, hidden=256,
    ),
)  # fmt: skip


class MLP(Network):
    """One hidden layer with ReLU on all pixels.

    Args:
        layout: The variant.
        num_classes: Outputs.
        in_channels: Channels of the input.
    Shape:
        Input (N, in_channels, 28, 28); output (N, num_classes).
    Raises:
        ValueError: If a count is below 1.
    """

    def __init__(self, layout: Layout, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__(layout, num_classes, in_channels)
        self.flatten = nn.Flatten()
        self.layers = MultilayerPerceptron(in_channels * layout.image_size**2, layout.hidden, num_classes)
        initialise(self, kaiming_)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return self.layers(self.flatten(x))


class LitMLP(LitClassifier):
    """Trains a multilayer perceptron. It takes 28×28 images.

    Args:
        num_classes: Outputs.
        in_channels: Channels of the images, 1 or 3.
        variant: ``mlp``, 784-256-10 for grey images of ten classes.
        kwargs: Arguments of :class:`lit_cnn.training.classifier.LitClassifier`.
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, variant: Literal[tuple(VARIANTS)] = "mlp", **kwargs: Any
    ) -> None:
        super().__init__(MLP(VARIANTS[variant], num_classes, in_channels), num_classes, in_channels, **kwargs)
