"""GoogLeNet: nine Inception modules between a small stem and a global average.

Source: Szegedy et al. 2015, "Going deeper with convolutions", arXiv:1409.4842.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lit_cnn.classifier import LitClassifier


@dataclass(frozen=True)
class Layout:
    """What tells one GoogLeNet from another."""

    batch_norm: bool
    kernel_5x5: int = 5  # of the branch that the paper calls 5×5
    last_pool: int = 3  # window of the last pooling
    ceil_mode: bool = True  # pooling keeps the border that a stride leaves over; otherwise it pads
    local_response_norm: bool = False
    dropout: float = 0.0  # before the classifier
    aux_pool: int | None = None  # auxiliary heads average to 4×4; None where the layout has no such heads
    aux_dropout: float = 0.0
    aux_weight: float = 0.0  # of each auxiliary loss, unless the user says otherwise


VARIANTS = {
    # torchvision's: BatchNorm, 3×3 where the paper has 5×5 (its source says so, for its weights' sake), a smaller last pool.
    "googlenet": Layout(batch_norm=True, kernel_5x5=3, last_pool=2, dropout=0.2, aux_pool=4, aux_dropout=0.7),
    # The paper's Table 1, with local response normalisation in the stem as in its Fig. 3.
    "googlenet_paper": Layout(
        batch_norm=False, local_response_norm=True, dropout=0.4, aux_pool=4, aux_dropout=0.7, aux_weight=0.3
    ),
    # d2l.ai, Sec. 8.4.
    "googlenet_d2l": Layout(batch_norm=False, ceil_mode=False),
}

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


def conv(in_channels: int, out_channels: int, kernel_size: int, batch_norm: bool, **kwargs: int) -> nn.Sequential:
    """Convolution and ReLU, with BatchNorm between them or a bias."""
    layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, kernel_size, bias=not batch_norm, **kwargs)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(out_channels, eps=0.001))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


class Inception(nn.Module):
    """Four parallel branches joined on channels.

    Source: Szegedy et al. 2015, arXiv:1409.4842, Fig. 2(b).

    Args:
        in_channels: Channels of the input.
        c1: Outputs of the 1×1 branch.
        c3_reduce: Outputs of the 1×1 convolution before the 3×3 one.
        c3: Outputs of the 3×3 branch.
        c5_reduce: Outputs of the 1×1 convolution before the 5×5 one.
        c5: Outputs of the 5×5 branch.
        pool_proj: Outputs of the 1×1 convolution after the pooling.
        batch_norm: Whether each convolution is normalised; otherwise it has a bias.
        kernel_5x5: Kernel size of the 5×5 branch, odd.
    Shape:
        Input (N, in_channels, H, W); output (N, c1 + c3 + c5 + pool_proj, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        c1: int,
        c3_reduce: int,
        c3: int,
        c5_reduce: int,
        c5: int,
        pool_proj: int,
        batch_norm: bool = False,
        kernel_5x5: int = 5,
    ) -> None:
        super().__init__()
        self.branch1 = conv(in_channels, c1, 1, batch_norm)
        self.branch2 = nn.Sequential(
            conv(in_channels, c3_reduce, 1, batch_norm),
            conv(c3_reduce, c3, 3, batch_norm, padding=1),
        )
        self.branch3 = nn.Sequential(
            conv(in_channels, c5_reduce, 1, batch_norm),
            conv(c5_reduce, c5, kernel_5x5, batch_norm, padding=kernel_5x5 // 2),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1),
            conv(in_channels, pool_proj, 1, batch_norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)), dim=1)


class AuxiliaryHead(nn.Sequential):
    """A classifier on an inner stage, whose loss feeds the gradient in half-way.

    Source: Szegedy et al. 2015, arXiv:1409.4842, Sec. 5.
    Deviates: averages to 4×4 whatever the input's size, as torchvision does; the paper averages windows of 5×5 with stride
    3, which gives 4×4 at 224×224 alone.

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
            nn.AdaptiveAvgPool2d(layout.aux_pool),
            conv(in_channels, 128, 1, layout.batch_norm),  # (N, 128, 4, 4)
            nn.Flatten(),
            nn.Linear(128 * layout.aux_pool**2, 1024),
            nn.ReLU(inplace=True),
            nn.Dropout(layout.aux_dropout),
            nn.Linear(1024, num_classes),
        )


class GoogLeNet(nn.Module):
    """GoogLeNet.

    Args:
        layout: The variant.
        num_classes: Outputs.
        in_channels: Channels of the input.
        aux_heads: Whether to build the two auxiliary heads. They serve training alone: ``forward`` leaves them out.
    Shape:
        Input (N, in_channels, H, W); output (N, num_classes). Shapes below are those of a 224×224 input.
    Raises:
        ValueError: If auxiliary heads are asked of a layout that has none.
    """

    def __init__(self, layout: Layout, num_classes: int = 1000, in_channels: int = 3, aux_heads: bool = False) -> None:
        super().__init__()
        if aux_heads and layout.aux_pool is None:
            raise ValueError("this variant of GoogLeNet has no auxiliary heads: set aux_weight to 0")
        self.conv1 = conv(in_channels, 64, 7, layout.batch_norm, stride=2, padding=3)
        self.conv2 = conv(64, 64, 1, layout.batch_norm)
        self.conv3 = conv(64, 192, 3, layout.batch_norm, padding=1)
        pool = partial(nn.MaxPool2d, stride=2, ceil_mode=layout.ceil_mode, padding=0 if layout.ceil_mode else 1)
        self.pool = pool(3)
        self.last_pool = pool(layout.last_pool)
        lrn = layout.local_response_norm
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0) if lrn else nn.Identity()
        channels = 192
        for name, outputs in INCEPTION.items():
            self.add_module(name, Inception(channels, *outputs, layout.batch_norm, layout.kernel_5x5))
            channels = outputs[0] + outputs[2] + outputs[4] + outputs[5]
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(layout.dropout)
        self.fc = nn.Linear(channels, num_classes)
        self.aux1 = AuxiliaryHead(512, num_classes, layout) if aux_heads else None
        self.aux2 = AuxiliaryHead(528, num_classes, layout) if aux_heads else None
        initialise(self)

    def forward_stages(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, and the two inner stages (N, 512, 14, 14) and (N, 528, 14, 14) that the auxiliary heads read."""
        x = self.norm(self.pool(self.conv1(x)))  # (N, 64, 56, 56)
        x = self.pool(self.norm(self.conv3(self.conv2(x))))  # (N, 192, 28, 28)
        x = self.inception3b(self.inception3a(x))  # (N, 480, 28, 28)
        x = inner1 = self.inception4a(self.pool(x))  # (N, 512, 14, 14)
        x = inner2 = self.inception4d(self.inception4c(self.inception4b(x)))  # (N, 528, 14, 14)
        x = self.last_pool(self.inception4e(x))  # (N, 832, 7, 7)
        x = self.inception5b(self.inception5a(x))  # (N, 1024, 7, 7)
        x = self.dropout(self.avgpool(x).flatten(1))  # (N, 1024)
        return self.fc(x), inner1, inner2

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_stages(x)[0]

    def forward_with_aux(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the classifier and of the two auxiliary heads, each (N, num_classes)."""
        assert self.aux1 is not None
        assert self.aux2 is not None
        logits, inner1, inner2 = self.forward_stages(x)
        return logits, self.aux1(inner1), self.aux2(inner2)


def initialise(network: nn.Module) -> None:
    """Kaiming normal weights (He et al. 2015, arXiv:1502.01852) and zero biases, for networks of ReLUs.

    Deviates: the paper does not say how it initialised. Without BatchNorm, smaller weights leave the loss at ln(classes).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class LitGoogLeNet(LitClassifier):
    """Trains a GoogLeNet, with the paper's auxiliary losses if asked.

    Args:
        num_classes: Outputs.
        in_channels: Channels of the images, 1 or 3.
        variant: ``googlenet`` is torchvision's (BatchNorm), ``googlenet_paper`` the paper's, ``googlenet_d2l`` d2l.ai's.
        aux_weight: Weight of each auxiliary loss; 0 builds no auxiliary heads. If not given, 0.3 for ``googlenet_paper``,
            else 0.
        kwargs: Arguments of :class:`lit_cnn.classifier.LitClassifier`.

    Raises:
        ValueError: If ``aux_weight`` is negative, or positive for ``googlenet_d2l``, which has no auxiliary heads.
    """

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

    def training_loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if not self.aux_weight:
            return super().training_loss(images, labels)
        logits, *auxiliary = self.network.forward_with_aux(images)
        loss = self.loss(logits, labels)
        return logits, loss + self.aux_weight * sum(self.loss(aux, labels) for aux in auxiliary)
