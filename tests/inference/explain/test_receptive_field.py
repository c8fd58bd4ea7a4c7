"""Receptive fields equal published ones, those by hand, and what gradients reach."""

import pytest
import torch
from torch import Tensor, nn

from lit_cnn.inference.explain.places import survey
from lit_cnn.inference.explain.receptive_field import ReceptiveField, receptive_field
from lit_cnn.models import build
from lit_cnn.network.base import Network


def field_of(network: nn.Module, layer: str, size: int, channels: int = 3) -> ReceptiveField:
    image = torch.zeros(1, channels, size, size)
    return receptive_field(network, image, survey(network, image).find(layer))


# Published in Araujo, Norris and Sim 2019, Distill: AlexNet 195, VGG-16 212. By hand: conv5_3 of VGG-16, and the ResNets,
# whose strides are elsewhere than in the published 483 and 1027. The convolutions of vgg16_small are those of vgg16.
KNOWN = [
    ("vgg16_small", "features.28", 64, 196, 16),
    ("vgg16_small", "features.30", 64, 212, 32),
    pytest.param("alexnet", "features.12", 64, 195, 32, marks=pytest.mark.slow),
    ("resnet18", "layer4", 64, 435, 32),
    pytest.param("resnet50", "layer4", 64, 427, 32, marks=pytest.mark.slow),
    pytest.param("resnet101", "layer4", 64, 971, 32, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("variant", "layer", "size", "pixels", "stride"), KNOWN)
def test_known_sizes(variant: str, layer: str, size: int, pixels: int, stride: int):
    network = build(variant, num_classes=2)
    field = field_of(network, layer, size)
    assert field.size == (pixels, pixels)
    assert field.stride == (stride, stride)


def test_lenet_by_hand():
    network = build("lenet")
    image = torch.zeros(1, 1, 28, 28)
    found = survey(network, image)
    sizes = {name: receptive_field(network, image, place).size[0] for name, place in found.outputs.items()}
    assert sorted(set(sizes.values())) == [5, 6, 14, 16]
    field = receptive_field(network, image, found.find())
    assert field.stride == (4, 4)


def reached(network: Network, layer: str, size: int, row: int, column: int) -> tuple[int, int, int, int]:
    """The smallest box around all pixels on which a cell depends, by its gradients for several images."""
    total = torch.zeros(size, size)
    network.eval().double()
    for seed in range(6):
        torch.manual_seed(seed)
        image = torch.randn(1, network.in_channels, size, size, dtype=torch.float64, requires_grad=True)
        kept: list[Tensor] = []
        hook = network.get_submodule(layer).register_forward_hook(lambda _, __, output, kept=kept: kept.append(output * 1))
        network(image)
        hook.remove()
        (gradient,) = torch.autograd.grad(kept[-1][0, :, row, column].sum(), image)
        total += gradient[0].abs().sum(dim=0).float()
    rows, columns = (total.sum(dim=axis).nonzero()[:, 0] for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


@pytest.mark.parametrize(
    ("variant", "layer", "size", "cell"),
    [
        ("lenet", "features", 28, (2, 1)),
        ("resnet20", "layer1", 32, (16, 3)),
        ("resnet20", "layer2.0", 32, (8, 8)),
        pytest.param("nin_cifar", "features.3", 32, (4, 9), marks=pytest.mark.slow),
        pytest.param("vgg11_bn_small", "features.7", 32, (5, 4), marks=pytest.mark.slow),
        pytest.param("googlenet", "inception3a", 64, (4, 2), marks=pytest.mark.slow),
        pytest.param("googlenet_paper", "conv3", 64, (8, 8), marks=pytest.mark.slow),
        pytest.param("densenet_40_12", "features.denseblock1.denselayer4", 32, (9, 20), marks=pytest.mark.slow),
        ("preact_resnet20", "layer1", 32, (16, 16)),
    ],
)
def test_gradients_reach_the_same_pixels(variant: str, layer: str, size: int, cell: tuple[int, int]):
    torch.manual_seed(0)
    network = build(variant, num_classes=3, in_channels=1)
    top, left, bottom, right = field_of(network, layer, size, 1).box(*cell)
    assert reached(network, layer, size, *cell) == (max(top, 0), max(left, 0), min(bottom, size), min(right, size))


class Uneven(Network):
    """Averages 5 cells to 2, whose windows overlap."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.whole = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.whole(self.pool(x)).flatten(1)


def test_cells_of_several_sizes_have_no_field():
    with pytest.raises(ValueError, match="the cells of pool have no receptive field of one size: choose an earlier --layer"):
        field_of(Uneven(), "pool", 5)
    assert field_of(Uneven(), "pool", 6).size == (3, 3)


def test_an_average_over_all_sees_all():
    assert field_of(build("resnet20"), "avgpool", 32).size[0] > 32


class Split(Network):
    """A wide and a narrow convolution, each of some channels or rows, which are joined again."""

    def __init__(self, dim: int) -> None:
        nn.Module.__init__(self)
        self.dim = dim
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.wide = nn.LazyConv2d(2, 5, padding=2)
        self.joined = nn.Identity()
        self.whole = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.first(x).chunk(2, dim=self.dim)
        return self.whole(self.joined(torch.cat([self.wide(one), other], dim=1))).flatten(1)


def test_parts_of_channels_keep_their_field():
    assert field_of(Split(dim=1), "joined", 16).size == (7, 7)


def test_parts_of_rows_have_no_field():
    with pytest.raises(ValueError, match="the cells of joined have no receptive field of one size"):
        field_of(Split(dim=2), "joined", 16)


class Gated(Network):
    """Each channel is weighed by its mean over the image."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.conv = nn.Conv2d(3, 4, 3)
        self.gated = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.gated(x * x.mean(dim=(2, 3))[:, :, None, None]).mean(dim=(2, 3))


def test_what_depends_on_the_image_without_a_field_is_no_weight():
    assert field_of(Gated(), "conv", 8).size == (3, 3)
    with pytest.raises(ValueError, match="the cells of gated have no receptive field of one size"):
        field_of(Gated(), "gated", 8)
