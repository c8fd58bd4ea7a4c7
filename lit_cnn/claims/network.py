"""A small network for controlled experiments: one argument changes one thing, and all else stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from lit_cnn.claims.blocks import Branches, Pair
from lit_cnn.layers import DenseBlock, Transition, gaussian_, initialise, kaiming_, local_response_norm
from lit_cnn.layers.checks import require_choice, require_positive, require_probability
from lit_cnn.network.base import Network, Variant
from lit_cnn.training.classifier import LitClassifier

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
NUM_GROUPS = 4  # of GroupNorm
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": nn.Identity,  # takes any arguments
    "batch": nn.BatchNorm2d,
    "group": partial(nn.GroupNorm, NUM_GROUPS),
}
# All three halve height and width, rounded up.
POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "max2": partial(nn.MaxPool2d, kernel_size=2, stride=2, ceil_mode=True),
    "max3": partial(nn.MaxPool2d, kernel_size=3, stride=2, padding=1),  # windows overlap
    "avg2": partial(nn.AvgPool2d, kernel_size=2, stride=2, ceil_mode=True),
}
INITIALISATIONS: dict[str, Callable[[Tensor], Any]] = {
    "kaiming": kaiming_,
    "xavier": nn.init.xavier_normal_,
    "normal_0.01": gaussian_,  # the paper of AlexNet
    "normal_0.1": partial(nn.init.normal_, std=0.1),  # a variance of 0.01, as the chapter has it
}
BLOCKS = ("conv", "reduced", "mlpconv", "mlpconv_linear", "inception", "plain", "residual", "dense")
HEADS = ("average", "linear", "hidden")


class BlockNet(Network):
    """Stages of equal blocks, a pooling after each stage but the last, and a head.

    Kinds of blocks; a normalisation stands before each activation:

    - ``conv``: a convolution.
    - ``reduced``: a 1×1 convolution to 3/8 of the width (rounded down) and one to the width: a branch of ``inception``.
    - ``mlpconv``: a convolution and two 1×1 ones (Lin et al. 2014).
    - ``mlpconv_linear``: the same, but the two 1×1 ones have neither normalisation nor activation.
    - ``inception``: four parallel branches (Szegedy et al. 2015).
    - ``plain``, ``residual``: two 3×3 convolutions without and with a shortcut (He et al. 2016).
    - ``dense``: layers that read all earlier ones; transitions halve the channels between stages (Huang et al. 2017).

    Args:
        num_classes: Outputs.
        in_channels: Channels of the input.
        block: Kind of the blocks.
        widths: Channels of each stage. With ``dense``, the first is that of the first convolution and the others are not
            used but for their number.
        depths: Blocks in each stage; with ``dense``, layers.
        kernel_size: Of the first convolution of ``conv``, ``mlpconv`` and ``mlpconv_linear``, and of the second of
            ``reduced``; odd.
        activation: Name of the function after each convolution.
        norm: ``none``, ``batch``, or ``group`` with four groups.
        lrn: Whether local response normalisation follows the first stage's activations (Krizhevsky et al. 2012).
        pooling: ``max2`` and ``avg2`` have windows of 2×2, ``max3`` overlapping ones of 3×3; all have stride 2.
        head: ``average`` over the map and a linear layer; ``linear`` on the flattened map; ``hidden``: two hidden linear
            layers on the flattened map.
        hidden: Outputs of each hidden linear layer.
        dropout: Probability of dropping a feature after each hidden linear layer.
        init: Initialisation of the weights.
        growth_rate: Channels that each layer of a ``dense`` block adds.
        image_size: Height and width of the images, for heads that flatten; others take any size.
    Shape:
        Input (N, in_channels, H, W); output (N, num_classes).
    Raises:
        ValueError: If a name is unknown, a count is below 1, or widths and depths do not go together.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        block: str = "conv",
        widths: Sequence[int] = (16, 32, 64),
        depths: Sequence[int] = (1, 1, 1),
        kernel_size: int = 3,
        activation: str = "relu",
        norm: str = "none",
        lrn: bool = False,
        pooling: str = "max2",
        head: str = "average",
        hidden: int = 256,
        dropout: float = 0.0,
        init: str = "kaiming",
        growth_rate: int = 8,
        image_size: int = 28,
    ) -> None:
        flattens = head != "average"
        layout = Variant(
            paper="",
            image_size=image_size,
            min_size=image_size if flattens else 1,
            max_size=image_size if flattens else None,
        )
        super().__init__(layout, num_classes, in_channels)
        require_choice(BLOCKS, block=block)
        require_choice(ACTIVATIONS, activation=activation)
        require_choice(NORMS, norm=norm)
        require_choice(POOLINGS, pooling=pooling)
        require_choice(HEADS, head=head)
        require_choice(INITIALISATIONS, init=init)
        require_probability(dropout=dropout)
        require_positive(kernel_size=kernel_size, hidden=hidden, growth_rate=growth_rate, image_size=image_size)
        if len(widths) != len(depths) or min([*widths, *depths], default=0) < 1:
            raise ValueError(f"widths and depths must be as many numbers of at least 1, got {widths} and {depths}")
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, to keep the size, got {kernel_size}")
        self.make_activation, self.make_norm = ACTIVATIONS[activation], NORMS[norm]
        self.has_norm = norm != "none"
        self.stages = nn.Sequential()
        channels = in_channels
        if block in ("plain", "residual", "dense"):
            self.stages.append(nn.Sequential(*self.convolve(channels, widths[0], 3)))
            channels = widths[0]
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            last = index == len(widths) - 1
            if block == "dense":
                stage, channels = self.make_dense(channels, depth, growth_rate, norm)
                self.stages.append(stage)
                if not last:
                    transition = Transition(channels, channels // 2)
                    if norm != "batch":
                        transition.norm = self.make_norm(channels)
                    transition.relu = self.make_activation()
                    self.stages.append(transition)
                    channels //= 2
                continue
            stage = nn.Sequential()
            for _ in range(depth):
                stage.append(self.make_block(block, channels, width, kernel_size))
                channels = width
            if lrn and index == 0:
                stage.append(local_response_norm(k=2, alpha=1e-4))
            self.stages.append(stage)
            if not last:
                self.stages.append(POOLINGS[pooling]())
        if block == "dense":
            self.stages.append(nn.Sequential(self.make_norm(channels), self.make_activation()))
        for _ in widths[1:]:
            image_size = image_size // 2 if block == "dense" else -(-image_size // 2)
        self.head = self.make_head(head, channels, hidden, dropout, image_size)
        initialise(self, INITIALISATIONS[init])

    def convolve(self, in_channels: int, out_channels: int, kernel_size: int, active: bool = True) -> list[nn.Module]:
        """A convolution that keeps the size, its normalisation, and its activation if it is ``active``."""
        padding = kernel_size // 2
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=not self.has_norm)
        return [conv, self.make_norm(out_channels), *([self.make_activation()] if active else [])]

    def make_block(self, block: str, in_channels: int, width: int, kernel_size: int) -> nn.Module:
        if block == "conv":
            return nn.Sequential(*self.convolve(in_channels, width, kernel_size))
        if block == "reduced":
            narrow = max(1, 3 * width // 8)
            return nn.Sequential(*self.convolve(in_channels, narrow, 1), *self.convolve(narrow, width, kernel_size))
        if block == "mlpconv":
            sizes = ((in_channels, kernel_size), (width, 1), (width, 1))
            return nn.Sequential(*(layer for channels, size in sizes for layer in self.convolve(channels, width, size)))
        if block == "mlpconv_linear":
            linear = (nn.Conv2d(width, width, 1) for _ in range(2))
            return nn.Sequential(*self.convolve(in_channels, width, kernel_size), *linear)
        if block == "inception":
            return Branches(self.convolve, in_channels, width)
        return Pair(self.convolve, self.make_activation, in_channels, width, block == "residual")

    def make_dense(self, in_channels: int, depth: int, growth_rate: int, norm: str) -> tuple[nn.Module, int]:
        block = DenseBlock(depth, in_channels, growth_rate)
        for layer in block:
            if norm != "batch":
                layer.norm1 = self.make_norm(layer.norm1.num_features)
            layer.relu1 = self.make_activation()
        return block, block.out_channels

    def make_head(self, head: str, channels: int, hidden: int, dropout: float, size: int) -> nn.Module:
        """The layers after the last map, which has ``channels`` of ``size``×``size``."""
        if head == "average":
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, self.num_classes))
        layers: list[nn.Module] = [nn.Flatten()]
        width = channels * size**2
        for _ in range(2 if head == "hidden" else 0):
            layers += [nn.Linear(width, hidden), self.make_activation(), nn.Dropout(dropout)]
            width = hidden
        return nn.Sequential(*layers, nn.Linear(width, self.num_classes))

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return self.head(self.stages(x))


class LitBlockNet(LitClassifier):
    """Trains a :class:`BlockNet`, whose arguments it takes.

    Args:
        num_classes: Outputs.
        in_channels: Channels of the images, 1 or 3.
        block: ``conv``, ``reduced``, ``mlpconv``, ``mlpconv_linear``, ``inception``, ``plain``, ``residual`` or ``dense``.
        widths: Channels of each stage.
        depths: Blocks in each stage.
        kernel_size: Of ``conv``, ``reduced``, ``mlpconv`` and ``mlpconv_linear``.
        activation: ``relu``, ``tanh`` or ``sigmoid``.
        norm: ``none``, ``batch`` or ``group``.
        lrn: Whether local response normalisation follows the first stage.
        pooling: ``max2``, ``max3`` or ``avg2``.
        head: ``average``, ``linear`` or ``hidden``.
        hidden: Outputs of each hidden linear layer.
        dropout: Probability of dropping a feature after each hidden linear layer.
        init: ``kaiming``, ``xavier``, ``normal_0.01`` or ``normal_0.1``.
        growth_rate: Channels that each layer of a ``dense`` block adds.
        image_size: Height and width of the images in pixels.
        kwargs: Arguments of :class:`lit_cnn.training.classifier.LitClassifier`.
    """

    training_only = ("dropout", "init")

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        block: Literal[BLOCKS] = "conv",
        widths: Sequence[int] = (16, 32, 64),
        depths: Sequence[int] = (1, 1, 1),
        kernel_size: int = 3,
        activation: Literal[tuple(ACTIVATIONS)] = "relu",
        norm: Literal[tuple(NORMS)] = "none",
        lrn: bool = False,
        pooling: Literal[tuple(POOLINGS)] = "max2",
        head: Literal[HEADS] = "average",
        hidden: int = 256,
        dropout: float = 0.0,
        init: Literal[tuple(INITIALISATIONS)] = "kaiming",
        growth_rate: int = 8,
        image_size: int = 28,
        **kwargs: Any,
    ) -> None:
        shape = {"widths": widths, "depths": depths, "kernel_size": kernel_size, "image_size": image_size}
        layers = {"activation": activation, "norm": norm, "lrn": lrn, "pooling": pooling, "init": init}
        end = {"head": head, "hidden": hidden, "dropout": dropout, "growth_rate": growth_rate}
        super().__init__(
            BlockNet(num_classes, in_channels, block, **shape, **layers, **end), num_classes, in_channels, **kwargs
        )
