"""Parameters and multiply-adds, counted from the definitions and published with torchvision's weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lit_cnn.models.googlenet import VARIANTS as GOOGLENET
from lit_cnn.models.googlenet import GoogLeNet, Inception
from lit_cnn.models.lenet import VARIANTS as LENET
from lit_cnn.models.lenet import LeNet

TRUE_5X5 = replace(GOOGLENET["googlenet"], kernel_5x5=5)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, *shape: int) -> int:
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, *shape))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("network", "shape", "parameters", "macs"),
    [
        (LeNet(LENET["lenet"]), (1, 28, 28), 61_706, 416_520),
        (LeNet(LENET["lenet_bn"]), (1, 28, 28), 44_878, 281_640),
        (GoogLeNet(GOOGLENET["googlenet"]), (3, 224, 224), 6_624_904, 1_498_376_192),
        (GoogLeNet(GOOGLENET["googlenet"], aux_heads=True), (3, 224, 224), 13_004_888, 1_498_376_192),
        (GoogLeNet(TRUE_5X5), (3, 224, 224), 7_005_832, 1_582_671_872),
        (GoogLeNet(GOOGLENET["googlenet_paper"]), (3, 224, 224), 6_998_552, 1_582_671_872),
        (GoogLeNet(GOOGLENET["googlenet_d2l"], 10, 1), (1, 96, 96), 5_977_530, 276_066_304),
        (Inception(192, 64, 96, 128, 16, 32, 32), (192, 28, 28), 163_696, 128_049_152),
    ],
    ids=["lenet", "lenet_bn", "googlenet", "with aux", "true 5x5", "paper", "d2l", "inception3a"],
)
def test_parameters_and_multiply_adds(network: nn.Module, shape: tuple[int, ...], parameters: int, macs: int):
    assert count(network) == parameters
    assert multiply_adds(network, *shape) == macs
