"""Parameters and multiply-adds, counted from the definitions and published with torchvision's weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lit_cnn.layers import Inception, MultilayerPerceptron
from lit_cnn.models import build, list_variants
from lit_cnn.models.googlenet import VARIANTS, GoogLeNet
from lit_cnn.network.catalogue import read_catalogue


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, *shape: int) -> int:
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2


SMALL, COLOUR = (3, 32, 32), (3, 224, 224)
GREY, GREY_96 = (1, 224, 224), (1, 96, 96)
COUNTS = [
    ("mlp", (1, 28, 28), 203_530, 203_264),
    ("lenet", (1, 28, 28), 61_706, 416_520),
    ("lenet_bn", (1, 28, 28), 44_878, 281_640),
    ("alexnet_half", COLOUR, 16_630_440, 311_191_824),
    ("alexnet_half", (3, 227, 227), 16_630_440, 313_125_888),
    ("alexnet", COLOUR, 61_100_840, 714_188_480),
    ("alexnet_d2l", GREY, 46_764_746, 938_146_176),
    ("vgg11", COLOUR, 132_863_336, 7_609_090_048),
    ("vgg11_bn", COLOUR, 132_868_840, 7_609_090_048),
    ("vgg13", COLOUR, 133_047_848, 11_308_466_176),
    ("vgg13_bn", COLOUR, 133_053_736, 11_308_466_176),
    ("vgg16", COLOUR, 138_357_544, 15_470_264_320),
    ("vgg16_bn", COLOUR, 138_365_992, 15_470_264_320),
    ("vgg19", COLOUR, 143_667_240, 19_632_062_464),
    ("vgg19_bn", COLOUR, 143_678_248, 19_632_062_464),
    ("vgg11_d2l", GREY, 43_093_322, 512_155_648),
    ("nin_d2l", GREY, 1_992_166, 762_297_352),
    ("nin_cifar", SMALL, 966_986, 222_486_528),
    ("googlenet", COLOUR, 6_624_904, 1_498_376_192),
    ("googlenet_paper", COLOUR, 6_998_552, 1_582_671_872),
    ("googlenet_d2l", GREY_96, 5_977_530, 276_066_304),
    ("resnet18", COLOUR, 11_689_512, 1_814_073_344),
    ("resnet34", COLOUR, 21_797_672, 3_663_761_408),
    ("resnet50", COLOUR, 25_557_032, 4_089_184_256),
    ("resnet101", COLOUR, 44_549_160, 7_801_405_440),
    ("resnet152", COLOUR, 60_192_808, 11_513_626_624),
    ("resnet18_d2l", GREY_96, 11_178_378, 318_657_536),
    ("resnet20", SMALL, 269_722, 40_551_040),
    ("resnet20_b", SMALL, 272_474, 40_813_184),
    ("resnet32", SMALL, 464_154, 68_862_592),
    ("resnet32_b", SMALL, 466_906, 69_124_736),
    ("resnet44", SMALL, 658_586, 97_174_144),
    ("resnet44_b", SMALL, 661_338, 97_436_288),
    ("resnet56", SMALL, 853_018, 125_485_696),
    ("resnet56_b", SMALL, 855_770, 125_747_840),
    ("resnet110", SMALL, 1_727_962, 252_887_680),
    ("resnet110_b", SMALL, 1_730_714, 253_149_824),
    ("densenet121", COLOUR, 7_978_856, 2_834_161_664),
    ("densenet161", COLOUR, 28_681_000, 7_727_907_072),
    ("densenet169", COLOUR, 14_149_480, 3_359_843_328),
    ("densenet201", COLOUR, 20_013_928, 4_291_365_888),
    ("densenet_bc_100_12", SMALL, 769_162, 287_929_692),
    ("densenet_40_12", SMALL, 1_019_722, 264_812_928),
    ("densenet_d2l", GREY_96, 758_226, 129_077_168),
]
# What build() does not make as it stands: other classes, blocks, changed layouts.
TRUE_5X5 = replace(VARIANTS["googlenet"], kernel_5x5=5)
UNREDUCED = replace(VARIANTS["googlenet_paper"], reduce=False)
OTHERS = {
    "perceptron 20-256-10": (lambda: MultilayerPerceptron(20, 256, 10), (20,), 7_946, 7_680),
    "alexnet_half, 10 classes": (lambda: build("alexnet_half", num_classes=10), COLOUR, 14_601_930, 309_164_304),
    "vgg11 of d2l, full width": (lambda: build("vgg11", 10, 1), GREY, 128_806_154, 7_547_232_256),
    "googlenet with auxiliary heads": (lambda: build("googlenet", aux_heads=True), COLOUR, 13_004_888, 1_498_376_192),
    "googlenet with true 5x5": (lambda: GoogLeNet(TRUE_5X5), COLOUR, 7_005_832, 1_582_671_872),
    "googlenet without reductions": (lambda: GoogLeNet(UNREDUCED), COLOUR, 25_305_944, 4_426_547_200),
    "inception 3a": (lambda: Inception(192, 64, 96, 128, 16, 32, 32), (192, 28, 28), 163_696, 128_049_152),
    "inception 3a, naive": (
        lambda: Inception(192, 64, 96, 128, 16, 32, 32, reduce=False), (192, 28, 28), 393_472, 308_281_344,
    ),
}  # fmt: skip
CASES = {f"{name} at {shape}": (lambda name=name: build(name), shape, *counts) for name, shape, *counts in COUNTS} | OTHERS


@pytest.mark.parametrize(("make", "shape", "parameters", "macs"), CASES.values(), ids=CASES)
def test_parameters_and_multiply_adds(make, shape: tuple[int, ...], parameters: int, macs: int):
    with torch.device("meta"):
        network = make()
    assert count(network) == parameters
    assert multiply_adds(network, *shape) == macs


def test_the_catalogue_holds_these_counts():
    catalogue = read_catalogue()
    counts = {name: (parameters, macs) for name, shape, parameters, macs in COUNTS if shape == catalogue[name].input_shape}
    assert len(counts) >= 40
    for name, expected in counts.items():
        assert (catalogue[name].num_parameters, catalogue[name].multiply_adds) == expected, f"{name}: run make catalogue"


def test_every_variant_that_is_published_is_counted():
    unpublished = {name for name in list_variants() if name.startswith(("plain", "preact")) or name.endswith("_small")}
    assert {name for name, *_ in COUNTS} == set(list_variants()) - unpublished
