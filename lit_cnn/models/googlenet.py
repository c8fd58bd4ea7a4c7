"""GoogLeNet: a small stem, nine Inception modules and a global average.

Source: Szegedy et al. 2015, "Going deeper with convolutions", arXiv:1409.4842.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lit_cnn.layers import Inception, conv, initialise, kaiming_, local_response_norm
from lit_cnn.network.base import Network, Variant, Variants
from lit_cnn.training.classifier import LitClassifier


@dataclass(frozen=True, kw_only=True)
class Layout(Variant):
    """What differs between variants of GoogLeNet."""

    paper: str = "Szegedy et al. 2015"
    batch_norm: bool
    kernel_5x5: int = 5  # of the branch that the paper calls 5×5
    reduce: bool = True  # 1×1 convolutions before the larger ones
    last_pool: int = 3  # window of the last pooling
    ceil_mode: bool = True  # whether pooling rounds sizes up; otherwise it pads
    lrn: bool = False  # local response normalisation in the stem
    dropout: float = 0.0  # before the classifier
    aux_pool: int | None = None  # height and width to which auxiliary heads average; None if the layout has none
    aux_dropout: float = 0.0
    aux_weight: float = 0.0  # of each auxiliary loss by default


VARIANTS = Variants(
    # torchvision's: BatchNorm, 3×3 instead of 5×5 (kept in its source so that its weights fit), a smaller last pool.
    googlenet=Layout(
        image_size=224, min_size=15, batch_norm=True, kernel_5x5=3, last_pool=2, dropout=0.2, aux_pool=4, aux_dropout=0.7,
        accuracy="69.78 % ImageNet (torchvision)",
    ),
    # The paper's Table 1, with local response normalisation in the stem as in its Fig. 3.
    googlenet_paper=Layout(
        image_size=224, min_size=31, batch_norm=False, lrn=True, dropout=0.4, aux_pool=4, aux_dropout=0.7, aux_weight=0.3,
    ),
    # d2l.ai, Sec. 8.4.
    googlenet_d2l=Layout(
        image_size=96, in_channels=1, num_classes=10, batch_norm=False, ceil_mode=False,
        accuracy="88.6 % Fashion-MNIST (d2l.ai)",
    ),
)  # fmt: skip

# The paper's Table 1: outputs of 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5, pool projection.
INCEPTION = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}


class AuxiliaryHead(nn.Sequential):
    """A classifier on an inner stage. Its loss gives the lower layers a gradient on a shorter path.

    Source: Szegedy et al. 2015, arXiv:1409.4842, Sec. 5.
    Deviates: averages inputs of any size to 4×4, as torchvision does. The paper averages windows of 5×5 with stride 3, which
    gives 4×4 only for 224×224 images.

    Args:
        in_channels: Channels of the stage.
        num_classes: Outputs.
        layout: Gives the pooled size, BatchNorm and dropout.
    Shape:
        Input (N, in_channels, H, W); output (N, num_classes).
    """

    def __init__(self, in_channels: int, num_classes: int, layout: Layout) -> None:
        assert layout.aux_pool is not None
        super().__init__(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(layout.aux_pool),
                conv=conv(in_channels, 128, 1, layout.batch_norm, eps=1e-3),  # (N, 128, 4, 4)
                flatten=nn.Flatten(),
                fc1=nn.Linear(128 * layout.aux_pool**2, 1024),
                relu=nn.ReLU(inplace=True),
                dropout=nn.Dropout(layout.aux_dropout),
                fc2=nn.Linear(1024, num_classes),
            )
        )


class GoogLeNet(Network):
    """GoogLeNet.

    Args:
        layout: The variant.
        num_classes: Outputs.
        in_channels: Channels of the input.
        aux_heads: Whether to build the two auxiliary heads. Only training uses them; ``forward`` does not.
    Shape:
        Input (N, in_channels, H, W); output (N, num_classes). Shapes below are those of a 224×224 input.
    Raises:
        ValueError: If a count is below 1, or ``aux_heads`` is true for a layout without auxiliary heads.
    """

    # The layers that output the classes.
    heads = ("fc", "aux1.fc2", "aux2.fc2")

    def __init__(self, layout: Layout, num_classes: int = 1000, in_channels: int = 3, aux_heads: bool = False) -> None:
        super().__init__(layout, num_classes, in_channels)
        if aux_heads and layout.aux_pool is None:
            raise ValueError("this variant of GoogLeNet has no auxiliary heads")
        stem_conv = partial(conv, batch_norm=layout.batch_norm, eps=1e-3)
        self.conv1 = stem_conv(in_channels, 64, 7, stride=2, padding=3)
        self.conv2 = stem_conv(64, 64, 1)
        self.conv3 = stem_conv(64, 192, 3, padding=1)
        pool = partial(nn.MaxPool2d, stride=2, ceil_mode=layout.ceil_mode, padding=0 if layout.ceil_mode else 1)
        self.pool = pool(3)
        self.last_pool = pool(layout.last_pool)
        # As in Caffe's GoogLeNet, which divides its alpha of 1e-4 by the five neighbours.
        self.norm = local_response_norm(k=1, alpha=2e-5) if layout.lrn else nn.Identity()
        channels = 192
        for name, outputs in INCEPTION.items():
            block = Inception(channels, *outputs, layout.batch_norm, layout.kernel_5x5, layout.reduce)
            self.add_module(name, block)
            channels = block.out_channels
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(layout.dropout)
        self.fc = nn.Linear(channels, num_classes)
        self.aux1 = AuxiliaryHead(512, num_classes, layout) if aux_heads else None
        self.aux2 = AuxiliaryHead(528, num_classes, layout) if aux_heads else None
        # The paper does not give its initialisation. Without BatchNorm, smaller weights leave the loss at ln(num_classes).
        initialise(self, kaiming_)

    def up_to_4a(self, x: Tensor) -> Tensor:
        """From images to the input of the first auxiliary head, (N, 512, 14, 14)."""
        self.check(x)
        x = self.norm(self.pool(self.conv1(x)))  # (N, 64, 56, 56)
        x = self.pool(self.norm(self.conv3(self.conv2(x))))  # (N, 192, 28, 28)
        x = self.inception3b(self.inception3a(x))  # (N, 480, 28, 28)
        return self.inception4a(self.pool(x))

    def up_to_4d(self, x: Tensor) -> Tensor:
        """From there to the input of the second auxiliary head, (N, 528, 14, 14)."""
        return self.inception4d(self.inception4c(self.inception4b(x)))

    def up_to_logits(self, x: Tensor) -> Tensor:
        """From there to the logits, (N, num_classes)."""
        x = self.last_pool(self.inception4e(x))  # (N, 832, 7, 7)
        x = self.inception5b(self.inception5a(x))  # (N, 1024, 7, 7)
        return self.fc(self.dropout(self.avgpool(x).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.up_to_logits(self.up_to_4d(self.up_to_4a(x)))

    def forward_with_aux(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the classifier and of the two auxiliary heads, each (N, num_classes).

        Raises:
            ValueError: If the network was built without auxiliary heads.
        """
        if self.aux1 is None or self.aux2 is None:
            raise ValueError("this GoogLeNet was built without auxiliary heads: build it with aux_heads=True")
        x = self.up_to_4a(x)
        aux1 = self.aux1(x)
        x = self.up_to_4d(x)
        aux2 = self.aux2(x)
        return self.up_to_logits(x), aux1, aux2


class LitGoogLeNet(LitClassifier):
    """Trains a GoogLeNet, optionally with the paper's auxiliary losses.

    Args:
        num_classes: Outputs.
        in_channels: Channels of the images, 1 or 3.
        variant: ``googlenet`` is torchvision's (BatchNorm), ``googlenet_paper`` the paper's, ``googlenet_d2l`` d2l.ai's.
        aux_weight: Weight of each auxiliary loss; 0 builds no auxiliary heads. By default 0.3 for ``googlenet_paper``, 0 for
            the others.
        kwargs: Arguments of :class:`lit_cnn.training.classifier.LitClassifier`.

    Raises:
        ValueError: If ``aux_weight`` is negative, or positive for ``googlenet_d2l``, which has no auxiliary heads.
    """

    training_only = ("aux_weight",)

    network: GoogLeNet

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        variant: Literal[tuple(VARIANTS)] = "googlenet",
        aux_weight: float | None = None,
        **kwargs: Any,
    ) -> None:
        layout = VARIANTS[variant]
        if aux_weight is None:
            aux_weight = layout.aux_weight
        if aux_weight < 0:
            raise ValueError(f"aux_weight must be at least 0, got {aux_weight}")
        network = GoogLeNet(layout, num_classes, in_channels, aux_heads=aux_weight > 0)
        super().__init__(network, num_classes, in_channels, **kwargs)
        self.aux_weight = aux_weight

    def compile_network(self, mode: str) -> None:
        super().compile_network(mode)
        if self.aux_weight:
            self.network.forward_with_aux = torch.compile(self.network.forward_with_aux, mode=mode)

    def training_loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if not self.aux_weight:
            return super().training_loss(images, labels)
        logits, *auxiliary = self.network.forward_with_aux(images)
        loss = self.loss(logits, labels)
        return logits, loss + self.aux_weight * sum(self.loss(aux, labels) for aux in auxiliary)
