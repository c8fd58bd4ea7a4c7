"""Teaching blocks, and what every layer refuses."""

import doctest
import importlib
import pkgutil

import pytest
import torch
from torch import nn

from lit_cnn import layers
from lit_cnn.layers import (
    BasicBlock,
    Bottleneck,
    DenseBlock,
    DenseLayer,
    GappedUniform,
    Inception,
    Linear,
    MLPConv,
    MultilayerPerceptron,
    Parallel,
    PreActBasicBlock,
    PreActBottleneck,
    Residual,
    Transition,
    initialise,
    local_response_norm,
    nested,
    shared_layers,
)


@pytest.mark.parametrize("module", ["layers", "models"])
def test_the_examples_in_the_docstrings_run(module: str):
    package = importlib.import_module(f"lit_cnn.{module}")
    names = [f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__)]
    results = [doctest.testmod(importlib.import_module(name)) for name in [package.__name__, *names]]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0


def test_parallel_takes_any_number_of_branches_and_any_dimension():
    branches = [nn.Conv2d(3, width, 1) for width in (1, 2, 4)]
    block = Parallel(*branches)
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(block(x), torch.cat([branch(x) for branch in branches], dim=1))
    assert Parallel(nn.Identity(), nn.Identity(), dim=2)(x).shape == (2, 3, 10, 5)
    with pytest.raises(ValueError, match="at least one branch"):
        Parallel()


def test_the_written_out_linear_layer_is_torchs_with_the_weight_transposed():
    mine, theirs = Linear(4, 3), nn.Linear(4, 3)
    mine.load_state_dict({"weight": theirs.weight.detach().T.contiguous(), "bias": theirs.bias.detach()})
    x = torch.randn(6, 4)
    xs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    upstream = torch.randn(6, 3)
    for layer, x in zip((mine, theirs), xs, strict=True):
        layer(x).backward(upstream)
    torch.testing.assert_close(mine(x), theirs(x))
    torch.testing.assert_close(xs[0].grad, xs[1].grad)
    torch.testing.assert_close(mine.weight.grad.T, theirs.weight.grad)
    torch.testing.assert_close(mine.bias.grad, theirs.bias.grad)
    assert torch.autograd.gradcheck(Linear(4, 3).double(), torch.randn(5, 4, dtype=torch.float64, requires_grad=True))


def test_the_perceptron_of_the_chapter_takes_single_vectors_too():
    assert MultilayerPerceptron()(torch.zeros(20)).shape == (10,)


def test_untied_layers_begin_alike_and_are_learnt_apart():
    network = shared_layers(tied=False)
    torch.testing.assert_close(network[2].weight, network[4].weight)
    assert network[2].weight is not network[4].weight


def test_local_response_norm_is_the_papers_formula():
    x = torch.randn(2, 7, 3, 3)
    a = x[:, 2]
    expected = a / (2 + 1e-2 * x[:, 0:5].square().sum(dim=1)) ** 0.75
    torch.testing.assert_close(local_response_norm(k=2, alpha=1e-2)(x)[:, 2], expected)


def test_initialise_reaches_every_layer_and_leaves_others_alone():
    network = nn.Sequential(nested(4, 8, 2), nn.BatchNorm1d(4), nn.Linear(4, 1, bias=False))
    initialise(network, weight=torch.distributions.Uniform(2.0, 3.0), bias=nn.init.ones_)
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert all(((m.weight >= 2) & (m.weight <= 3)).all() for m in linear)
    assert all((m.bias == 1).all() for m in linear if m.bias is not None)
    initialise(network, weight=GappedUniform(), layer_types=(nn.BatchNorm1d,))
    assert (network[1].bias == 0).all()
    assert (linear[0].weight >= 2).all()


@pytest.mark.parametrize(("arguments", "match"), [({"low": 5, "high": 5}, "low=5, high=5"), ({"zero": 1.0}, "got 1.0")])
def test_gapped_uniform_refuses_what_is_no_distribution(arguments: dict, match: str):
    with pytest.raises(ValueError, match=match):
        GappedUniform(**arguments)


BLOCKS = [
    (BasicBlock, (8, 8), {}, 8, 6),
    (BasicBlock, (8, 16), {"stride": 2}, 16, 3),
    (BasicBlock, (8, 16), {"stride": 2, "shortcut": "zeros"}, 16, 3),
    (BasicBlock, (8, 8), {"shortcut": "none"}, 8, 6),
    (Bottleneck, (8, 4), {"stride": 2}, 16, 3),
    (PreActBasicBlock, (8, 16), {"stride": 2}, 16, 3),
    (PreActBottleneck, (8, 4), {}, 16, 6),
    (Residual, (8, 16), {"stride": 2}, 16, 3),
    (DenseLayer, (8, 4), {}, 4, 6),
    (DenseLayer, (8, 4), {"bottleneck": True}, 4, 6),
    (DenseBlock, (3, 8, 4), {}, 20, 6),
    (Transition, (8, 4), {}, 4, 3),
    (MLPConv, (8, (5, 4, 3), 3), {"padding": 1}, 3, 6),
    (Inception, (8, 1, 2, 3, 4, 5, 6), {}, 15, 6),
    (Inception, (8, 1, 2, 3, 4, 5, 6), {"reduce": False}, 15, 6),
]


@pytest.mark.parametrize(("block", "arguments", "options", "channels", "size"), BLOCKS)
def test_blocks_give_the_shape_they_promise(block, arguments, options, channels: int, size: int):
    assert block(*arguments, **options)(torch.randn(2, 8, 6, 6)).shape == (2, channels, size, size)


@pytest.mark.parametrize(
    ("block", "arguments", "name"),
    [
        (layers.conv, (0, 8, 3), "in_channels"),
        (BasicBlock, (8, 0), "channels"),
        (Bottleneck, (8, 8, 0), "stride"),
        (Residual, (8, -1), "channels"),
        (DenseBlock, (0, 8, 4), "num_layers"),
        (DenseLayer, (8, 0), "growth_rate"),
        (Transition, (8, 0), "out_channels"),
        (Inception, (8, 0, 2, 3, 4, 5, 6), "out_channels"),
        (MLPConv, (8, (0,), 3), "out_channels"),
        (Linear, (0, 3), "in_features"),
        (MultilayerPerceptron, (20, 0), "hidden"),
        (shared_layers, (4, 8, 0), "num_shared"),
        (nested, (4, 8, 0), "num_blocks"),
        (layers.BatchNorm1d, (0,), "num_features"),
        (layers.BatchNorm2d, (2.5,), "num_features"),
    ],
)
def test_counts_below_one_are_refused_by_name_rule_and_value(block, arguments, name: str):
    with pytest.raises(ValueError, match=rf"^{name} must be a whole number of at least 1, got "):
        block(*arguments)


def test_the_shortcut_of_zeros_takes_every_second_pixel_and_adds_nothing():
    x = torch.randn(2, 4, 6, 6)
    skipped = BasicBlock(4, 10, stride=2, shortcut="zeros").skip(x)
    assert torch.equal(skipped[:, 3:7], x[:, :, ::2, ::2])
    assert not skipped[:, :3].any()
    assert not skipped[:, 7:].any()


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_plain_block_has_nothing_but_its_convolutions(block: type[nn.Module]):
    for shortcut, expected in (("none", 0.0), ("projection", 1.0)):
        layer = block(16, 16 // block.expansion, shortcut=shortcut)
        nn.init.zeros_((layer.bn2 if block is BasicBlock else layer.bn3).weight)
        assert torch.equal(layer(torch.ones(2, 16, 4, 4)), torch.full((2, 16, 4, 4), expected))


@pytest.mark.parametrize("block", [PreActBasicBlock, PreActBottleneck])
def test_nothing_is_in_the_way_of_a_pre_activated_shortcut(block: type[nn.Module]):
    channels = 16 // block.expansion
    same, changed = block(16, channels), block(16, 2 * channels, stride=2)
    for layer in (same, changed):
        nn.init.zeros_((layer.conv2 if block is PreActBasicBlock else layer.conv3).weight)
    x = torch.randn(2, 16, 4, 4)
    assert torch.equal(same(x), x)
    assert torch.equal(changed(x), changed.downsample(changed.bn1(x).relu()))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"shortcut": "B"}, "shortcut must be one of zeros, projection, none, got 'B'"),
        ({"channels": 4, "shortcut": "zeros"}, "shortcut zeros cannot make 4 channels of 8: use projection"),
    ],
)
def test_shortcuts_that_there_are_not_are_refused(arguments: dict, match: str):
    with pytest.raises(ValueError, match=match):
        BasicBlock(**{"in_channels": 8, "channels": 8} | arguments)
