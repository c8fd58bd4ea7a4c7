"""The network for controlled experiments: one argument changes one thing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from lit_cnn.claims.network import ACTIVATIONS, BLOCKS, HEADS, INITIALISATIONS, NORMS, POOLINGS, BlockNet, LitBlockNet
from lit_cnn.layers import DenseBlock
from lit_cnn.network.counting import count_parameters

pytestmark = pytest.mark.usefixtures("one_thread")


def layers(network: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kinds)]


def make(**arguments: Any) -> BlockNet:
    torch.manual_seed(0)
    return BlockNet(**{"widths": [8, 16], "depths": [2, 1]} | arguments)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_goes_with_every_head(block: str, head: str):
    network = make(block=block, head=head, in_channels=3, num_classes=7, image_size=9, hidden=8)
    logits = network(torch.randn(2, 3, 9, 9))
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("block", BLOCKS)
def test_a_norm_replaces_all_others_and_the_biases(block: str, norm: str):
    network = make(block=block, norm=norm, widths=[32, 32])
    kinds = {"none": (), "batch": (nn.BatchNorm2d,), "group": (nn.GroupNorm,)}[norm]
    norms = layers(network, nn.BatchNorm2d, nn.GroupNorm)
    assert bool(norms) == (norm != "none")
    assert norms == layers(network, *kinds)
    assert network(torch.rand(2, 1, 9, 9)).shape == (2, 10)


@pytest.mark.parametrize("block", BLOCKS)
def test_an_activation_replaces_all_others(block: str):
    counts = set()
    for name, kind in ACTIVATIONS.items():
        for norm in ("none", "batch"):
            network = make(block=block, activation=name, norm=norm, head="hidden", hidden=8)
            assert layers(network, *ACTIVATIONS.values()) == layers(network, kind)
            counts.add(len(layers(network, kind)))
    assert len(counts) == 1


def test_plain_blocks_are_residual_blocks_without_shortcuts():
    plain, residual = make(block="plain"), make(block="residual")
    added = [module for module in layers(residual, nn.Conv2d) if module.kernel_size == (1, 1)]
    assert [(conv.in_channels, conv.out_channels) for conv in added] == [(8, 16)]
    assert count_parameters(residual) == count_parameters(plain) + 8 * 16 + 16
    x = torch.randn(1, 1, 28, 28)
    assert not torch.equal(plain(x), residual(x))


def test_a_residual_block_adds_its_input():
    network = make(block="residual", widths=[8], depths=[1])
    block = network.stages[1][0]
    for layer in layers(block, nn.Conv2d):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = torch.rand(1, 8, 5, 5)
    assert torch.equal(block(x), x)
    block.residual = False
    assert torch.equal(block(x), torch.zeros_like(x))


def test_an_inception_block_has_the_shares_of_its_paper():
    block = make(block="inception", widths=[32], depths=[1]).stages[0][0]
    assert block(torch.rand(1, 1, 9, 9)).shape == (1, 32, 9, 9)
    branches = [block.branch1, block.branch2, block.branch3, block.branch4]
    assert [branch(torch.rand(1, 1, 9, 9)).shape[1] for branch in branches] == [8, 16, 4, 4]
    assert [layers(branch, nn.Conv2d)[-1].kernel_size for branch in branches] == [(1, 1), (3, 3), (5, 5), (1, 1)]


def test_an_mlpconv_block_is_a_convolution_and_two_of_1x1():
    network = make(block="mlpconv", widths=[8], depths=[1], kernel_size=5)
    assert [conv.kernel_size for conv in layers(network, nn.Conv2d)] == [(5, 5), (1, 1), (1, 1)]


def test_a_reduced_block_narrows_before_its_kernel_as_an_inception_branch_does():
    block = make(block="reduced", widths=[32], depths=[1], kernel_size=5, norm="batch").stages[0][0]
    convs = [(conv.in_channels, conv.out_channels, conv.kernel_size) for conv in layers(block, nn.Conv2d)]
    assert convs == [(1, 12, (1, 1)), (12, 32, (5, 5))]
    assert [type(layer) for layer in block] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 2
    narrow = [make(block="reduced", widths=[width], depths=[1]).stages[0][0][0].out_channels for width in (1, 20, 25)]
    assert narrow == [1, 7, 9]


def test_a_linear_mlpconv_block_has_the_same_convolutions_but_one_activation():
    block = make(block="mlpconv_linear", widths=[8], depths=[1], norm="batch").stages[0][0]
    assert [type(layer) for layer in block] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.Conv2d]
    shapes = {
        name: [conv.weight.shape for conv in layers(make(block=name), nn.Conv2d)] for name in ("mlpconv", "mlpconv_linear")
    }
    assert shapes["mlpconv"] == shapes["mlpconv_linear"]
    x = torch.randn(2, 8, 6, 6)
    linear = block[3:]
    assert torch.allclose(linear(2 * x) - linear(x), linear(x) - linear(0 * x), atol=1e-5)


def test_a_dense_network_halves_channels_between_its_blocks():
    network = make(block="dense", widths=[8, 8, 8], depths=[2, 3, 1], growth_rate=4)
    blocks = layers(network, DenseBlock)
    assert [(block[0].conv1.in_channels, block.out_channels) for block in blocks] == [(8, 16), (8, 20), (10, 14)]
    assert network.head[-1].in_features == 14


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_halves_the_map(pooling: str):
    network = make(pooling=pooling)
    pool = network.stages[1]
    assert [pool(torch.rand(1, 8, size, size)).shape[-1] for size in (28, 15, 7, 2, 1)] == [14, 8, 4, 1, 1]


def test_depths_are_the_blocks_of_a_stage():
    assert len(layers(make(depths=[3, 2]), nn.Conv2d)) == 5
    assert len(layers(make(block="plain", depths=[3, 2]), nn.Conv2d)) == 1 + 2 * 5


def test_lrn_follows_the_first_stage_alone():
    network = make(lrn=True)
    assert [name for name, module in network.named_modules() if isinstance(module, nn.LocalResponseNorm)] == ["stages.0.2"]
    assert count_parameters(network) == count_parameters(make())


def test_dropout_is_of_the_hidden_layers_and_needs_no_parameters():
    network = make(head="hidden", dropout=0.5)
    assert [layer.p for layer in layers(network, nn.Dropout)] == [0.5, 0.5]
    assert count_parameters(network) == count_parameters(make(head="hidden"))
    x = torch.rand(4, 1, 28, 28)
    assert not torch.equal(network(x), network(x))
    assert torch.equal(network.eval()(x), network(x))


@pytest.mark.parametrize(
    ("init", "expected"),
    [("kaiming", (2 / 200) ** 0.5), ("xavier", (2 / 600) ** 0.5), ("normal_0.01", 0.01), ("normal_0.1", 0.1)],
)
def test_an_initialisation_has_its_spread(init: str, expected: float):
    network = make(widths=[8, 16], depths=[1, 1], kernel_size=5, init=init)
    second = layers(network, nn.Conv2d)[1]  # 8 → 16 channels of 5×5
    assert second.weight.std().item() == pytest.approx(expected, rel=0.05)
    assert not second.bias.any()


def test_the_names_are_those_of_the_tables():
    assert set(INITIALISATIONS) == {"kaiming", "xavier", "normal_0.01", "normal_0.1"}


@pytest.mark.parametrize("head", ["linear", "hidden"])
def test_a_head_that_flattens_takes_one_size(head: str):
    with pytest.raises(ValueError, match="28"):
        make(head=head)(torch.rand(1, 1, 32, 32))
    assert make(head="average")(torch.rand(1, 1, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block": "resnet"}, "block must be one of conv, reduced, .*, residual, dense, got 'resnet'"),
        ({"activation": "gelu"}, "activation must be one of relu, tanh, sigmoid, got 'gelu'"),
        ({"norm": "layer"}, "norm must be one of none, batch, group, got 'layer'"),
        ({"pooling": "max"}, "pooling must be one of max2, max3, avg2, got 'max'"),
        ({"head": "mlp"}, "head must be one of average, linear, hidden, got 'mlp'"),
        ({"init": "zero"}, "init must be one of kaiming, xavier, normal_0.01, normal_0.1, got 'zero'"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"hidden": 0}, "hidden must be a whole number of at least 1, got 0"),
        ({"depths": [1]}, r"widths and depths must be as many numbers of at least 1, got \[8, 16\] and \[1\]"),
        ({"widths": [], "depths": []}, "widths and depths must be as many numbers of at least 1"),
        ({"widths": [8, 0]}, "widths and depths must be as many numbers of at least 1"),
        ({"kernel_size": 4}, "kernel_size must be odd, to keep the size, got 4"),
        ({"kernel_size": 0}, "kernel_size must be a whole number of at least 1, got 0"),
        ({"block": "inception", "widths": [12, 16]}, "the width of an inception block must be a multiple of 8, got 12"),
        ({"norm": "group", "widths": [6, 16]}, r"num_channels \(6\) must be divisible by num_groups \(4\)"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_the_module_takes_the_arguments_of_its_network():
    torch.manual_seed(0)
    module = LitBlockNet(block="dense", widths=[8, 8], depths=[1, 2], norm="batch", head="linear", lr=0.3)
    torch.manual_seed(0)
    network = BlockNet(block="dense", widths=[8, 8], depths=[1, 2], norm="batch", head="linear")
    assert module.hparams.lr == 0.3
    assert module.hparams.depths == [1, 2]
    ours, own = module.network.state_dict(), network.state_dict()
    assert ours.keys() == own.keys()
    assert all(torch.equal(ours[name], own[name]) for name in own)
    copy.deepcopy(module)
