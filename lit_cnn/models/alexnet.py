"""AlexNet: five convolutions, three linear layers, ReLU, dropout.

Source: Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks".
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lit_cnn.layers import gaussian_, initialise, kaiming_, local_response_norm
from lit_cnn.layers.checks import require_choice, require_probability
from lit_cnn.network.base import Network, Variant, Variants
from lit_cnn.training.classifier import LitClassifier


@dataclass(frozen=True, kw_only=True)
class Layout(Variant):
    """What differs between variants of AlexNet."""

    channels: tuple[int, int, int, int, int]
    hidden: int  # of the linear layers
    padding: int = 2  # of the first convolution
    pooled: int = 6  # height and width before the linear layers
    dropout_first: bool = True  # before each hidden layer; otherwise after it


VARIANTS = Variants(
    # The chapter's: half of the paper's channels, as on each of its two GPUs.
    alexnet_half=Layout(
        paper="Krizhevsky et al. 2012", image_size=224, min_size=63, channels=(48, 128, 192, 192, 128), hidden=2048,
    ),
    # torchvision's: the single-GPU network of Krizhevsky 2014, arXiv:1404.5997.
    alexnet=Layout(
        paper="Krizhevsky 2014", image_size=224, min_size=63, channels=(64, 192, 384, 256, 256), hidden=4096,
        accuracy="56.52 % ImageNet (torchvision)",
    ),
    # d2l.ai, Sec. 8.1: the paper's channels without its two groups.
    alexnet_d2l=Layout(
        paper="Krizhevsky et al. 2012", image_size=224, min_size=65, in_channels=1, num_classes=10,
        channels=(96, 256, 384, 384, 256), hidden=4096, padding=1, pooled=5, dropout_first=False,
        accuracy="88.3 % Fashion-MNIST (d2l.ai)",
    ),
)  # fmt: skip


class AlexNet(Network):
    """AlexNet.

    Deviates from the paper: one group, not two. Pads by 2 (d2l.ai: 1); the paper does not say how 224 becomes 55. Averages
    to the size that 224×224 gives, as torchvision does, so that it takes other sizes too. ``kaiming`` counts the
    inputs of each layer; the chapter counts the outputs of convolutions, and draws linear layers with a standard deviation
    of 0.01.

    Args:
        layout: The variant.
        num_classes: Outputs.
        in_channels: Channels of the input.
        lrn: Whether local response normalisation follows the first two layers, as in the paper (Sec. 3.3).
        init: ``kaiming``, or ``paper``: Gaussian of standard deviation 0.01, biases of one in the second, fourth and fifth
            convolution and the hidden linear layers (Sec. 5).
        dropout: Probability of dropping a feature.
    Shape:
        Input (N, in_channels, H, W); output (N, num_classes). Shapes below: ``alexnet`` at 224×224.
    Raises:
        ValueError: If a count is below 1, the initialisation is unknown, or the dropout is not a probability.
    """

    def __init__(
        self,
        layout: Layout,
        num_classes: int = 1000,
        in_channels: int = 3,
        lrn: bool = False,
        init: str = "kaiming",
        dropout: float = 0.5,
    ) -> None:
        super().__init__(layout, num_classes, in_channels)
        require_choice(("kaiming", "paper"), init=init)
        require_probability(dropout=dropout)
        c1, c2, c3, c4, c5 = layout.channels

        def normalised_relu() -> nn.Module:
            return (
                nn.Sequential(nn.ReLU(inplace=True), local_response_norm(k=2, alpha=1e-4)) if lrn else nn.ReLU(inplace=True)
            )

        self.features = nn.Sequential(
            nn.Conv2d(in_channels, c1, kernel_size=11, stride=4, padding=layout.padding),  # (N, 64, 55, 55)
            normalised_relu(),
            nn.MaxPool2d(kernel_size=3, stride=2),  # (N, 64, 27, 27)
            nn.Conv2d(c1, c2, kernel_size=5, padding=2),  # (N, 192, 27, 27)
            normalised_relu(),
            nn.MaxPool2d(kernel_size=3, stride=2),  # (N, 192, 13, 13)
            nn.Conv2d(c2, c3, kernel_size=3, padding=1),  # (N, 384, 13, 13)
            nn.ReLU(inplace=True),
            nn.Conv2d(c3, c4, kernel_size=3, padding=1),  # (N, 256, 13, 13)
            nn.ReLU(inplace=True),
            nn.Conv2d(c4, c5, kernel_size=3, padding=1),  # (N, 256, 13, 13)
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),  # (N, 256, 6, 6)
        )
        self.avgpool = nn.AdaptiveAvgPool2d(layout.pooled)
        first = nn.Linear(c5 * layout.pooled**2, layout.hidden)
        second = nn.Linear(layout.hidden, layout.hidden)
        hidden: list[nn.Module] = []
        for linear in (first, second):
            drop = nn.Dropout(dropout)
            hidden += (
                [drop, linear, nn.ReLU(inplace=True)] if layout.dropout_first else [linear, nn.ReLU(inplace=True), drop]
            )
        self.classifier = nn.Sequential(*hidden, nn.Linear(layout.hidden, num_classes))
        if init == "paper":
            initialise(self, gaussian_)
            for layer in (self.features[3], self.features[8], self.features[10], first, second):
                nn.init.ones_(layer.bias)
        else:
            initialise(self, kaiming_)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


class LitAlexNet(LitClassifier):
    """Trains an AlexNet.

    Args:
        num_classes: Outputs.
        in_channels: Channels of the images, 1 or 3.
        variant: ``alexnet_half`` is the chapter's, ``alexnet`` torchvision's, ``alexnet_d2l`` d2l.ai's.
        lrn: Whether to use local response normalisation, as the paper does.
        init: ``kaiming``, or ``paper``, whose small weights need a high learning rate and many epochs.
        dropout: Probability of dropping a feature before a linear layer.
        kwargs: Arguments of :class:`lit_cnn.training.classifier.LitClassifier`.
    """

    training_only = ("init", "dropout")

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        variant: Literal[tuple(VARIANTS)] = "alexnet_half",
        lrn: bool = False,
        init: Literal["kaiming", "paper"] = "kaiming",
        dropout: float = 0.5,
        **kwargs: Any,
    ) -> None:
        network = AlexNet(VARIANTS[variant], num_classes, in_channels, lrn, init, dropout)
        super().__init__(network, num_classes, in_channels, **kwargs)
