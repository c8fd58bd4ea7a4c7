"""Statements about networks that follow from their definitions, decided once and exactly.

Each test is named by the claim's row in the project's list of claims; the measured ones are experiments.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lit_cnn.layers import (
    BasicBlock,
    BatchNorm2d,
    Bottleneck,
    DenseBlock,
    DenseLayer,
    GappedUniform,
    Inception,
    Parallel,
    initialise,
    shared_layers,
)
from lit_cnn.models import build, list_variants
from lit_cnn.network.counting import count_multiply_adds


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("optimizer", "same"), [("SGD", True), ("Adam", False)])
def test_row_6a_an_l2_term_in_the_loss_is_weight_decay_for_sgd_but_not_decoupled_decay_for_adam(optimizer, same):
    def train(in_loss: bool) -> torch.Tensor:
        torch.manual_seed(0)
        network = nn.Linear(5, 3).double()
        # What is called weight decay: taken off the weights beside the gradient's step, lr · decay each time.
        optimizer_class, lr, decay = getattr(torch.optim, optimizer), 0.05, 0.1
        steps = optimizer_class(network.parameters(), lr=lr)
        for _ in range(20):
            x, y = torch.randn(8, 5, dtype=torch.float64), torch.randint(0, 3, (8,))
            loss = F.cross_entropy(network(x), y)
            if in_loss:
                loss = loss + decay / 2 * sum(p.square().sum() for p in network.parameters())
            steps.zero_grad()
            loss.backward()
            if not in_loss:
                with torch.no_grad():
                    for parameter in network.parameters():
                        parameter.mul_(1 - lr * decay)
            steps.step()
        return network.weight.detach()

    difference = (train(True) - train(False)).abs().max()
    assert difference < 1e-6 if same else difference > 1e-3


def test_row_6a_torchs_weight_decay_of_sgd_is_the_l2_term():
    torch.manual_seed(0)
    networks = [nn.Linear(5, 3).double() for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    steps = [
        torch.optim.SGD(networks[0].parameters(), lr=0.05, momentum=0.9, weight_decay=0.1),
        torch.optim.SGD(networks[1].parameters(), lr=0.05, momentum=0.9),
    ]
    for _ in range(20):
        x, y = torch.randn(8, 5, dtype=torch.float64), torch.randint(0, 3, (8,))
        l2 = 0.1 / 2 * sum(p.square().sum() for p in networks[1].parameters())
        for network, optimizer, extra in zip(networks, steps, (0, l2), strict=True):
            optimizer.zero_grad()
            (F.cross_entropy(network(x), y) + extra).backward()
            optimizer.step()
    torch.testing.assert_close(networks[0].weight, networks[1].weight, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("stacked", "large"), [(2, 5), (3, 7)])
def test_row_8_stacked_3x3_convolutions_see_as_much_as_a_large_one_with_fewer_parameters(stacked: int, large: int):
    channels = 6
    small = nn.Sequential(*(nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(stacked)))
    single = nn.Conv2d(channels, channels, large, padding=large // 2, bias=False)
    fields = []
    for network in (small, single):
        x = torch.randn(1, channels, 15, 15, requires_grad=True)
        network(x)[0, 0, 7, 7].backward()
        rows, columns = x.grad.abs().sum(dim=(0, 1)).nonzero(as_tuple=True)
        fields.append((rows.min(), rows.max(), columns.min(), columns.max()))
    assert fields[0] == fields[1] == (7 - large // 2, 7 + large // 2) * 2
    assert count(small) == stacked * 9 * channels**2
    assert count(single) == large**2 * channels**2
    assert count(small) < count(single)


@pytest.mark.parametrize(("reduce", "parameters", "macs"), [(True, 163_696, 128_049_152), (False, 393_472, 308_281_344)])
def test_row_13_the_reduction_of_inception_lowers_parameters_and_multiply_adds(reduce: bool, parameters: int, macs: int):
    block = Inception(192, 64, 96, 128, 16, 32, 32, reduce=reduce)
    assert count(block) == parameters
    assert count_multiply_adds(block, torch.zeros(1, 192, 28, 28)) == macs


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, BatchNorm2d])
def test_row_16_batch_norm_computes_differently_in_training_and_in_prediction(norm: type[nn.Module]):
    torch.manual_seed(0)
    layer, x = norm(3), torch.randn(8, 3, 4, 4) * 2 + 1
    alone, among = layer(x[:2])[0], layer(x)[0]
    assert not torch.allclose(alone, among)
    layer = norm(3)
    layer(x)
    torch.testing.assert_close(layer.running_mean, 0.1 * x.mean((0, 2, 3)))
    torch.testing.assert_close(layer.running_var, 0.9 + 0.1 * x.var((0, 2, 3), correction=1))
    layer.eval()
    assert torch.equal(layer(x[:1])[0], layer(x)[0])


@pytest.mark.parametrize(("block", "last"), [(BasicBlock, "bn2"), (Bottleneck, "bn3")])
def test_row_19_a_block_whose_last_scale_is_zero_is_the_identity_to_the_bit(block: type[nn.Module], last: str):
    layer = block(16, 16 // block.expansion)
    nn.init.zeros_(getattr(layer, last).weight)
    x = torch.randn(2, 16, 8, 8)
    for training in (True, False):
        assert torch.equal(layer.train(training)(x), F.relu(x))


def test_row_19_a_network_can_begin_so():
    network = build("resnet18", num_classes=10, zero_init_residual=True)
    x = torch.randn(2, 64, 8, 8).relu()
    assert torch.equal(network.layer1(x), x)
    for name, match in (("plain18", "needs shortcuts"), ("preact_resnet18", "end in BatchNorm")):
        with pytest.raises(ValueError, match=match):
            build(name, zero_init_residual=True)


def test_row_20_the_bottleneck_cuts_parameters():
    def convolutions(block: nn.Module) -> int:
        return sum(p.numel() for name, p in block.named_parameters() if "conv" in name)

    assert convolutions(BasicBlock(256, 256)) == 1_179_648
    assert convolutions(Bottleneck(256, 64)) == 69_632


def test_row_25_layer_l_of_a_dense_block_sees_k0_plus_l_minus_1_times_k_channels():
    block = DenseBlock(num_layers=5, in_channels=7, growth_rate=4)
    seen = [layer.norm1.num_features for layer in block.modules() if isinstance(layer, DenseLayer)]
    assert seen == [7 + (layer - 1) * 4 for layer in range(1, 6)]
    assert DenseBlock(2, 3, 10)(torch.zeros(4, 3, 8, 8)).shape == (4, 23, 8, 8)
    assert build("densenet_d2l").classifier.in_features == 248


def test_row_26_tied_parameters_add_their_gradients():
    torch.manual_seed(0)
    tied, untied = shared_layers(tied=True), shared_layers(tied=False)
    # The shared layer comes under both names.
    untied.load_state_dict(tied.state_dict())
    x = torch.randn(6, 4)
    for network in (tied, untied):
        network(x).square().sum().backward()
    assert tied[2].weight.grad.any()
    for name in ("weight", "bias"):
        both = getattr(untied[2], name).grad + getattr(untied[4], name).grad
        torch.testing.assert_close(getattr(tied[2], name).grad, both)
    assert (count(tied), count(untied)) == (121, 193)


def test_row_27_a_parallel_block_concatenates():
    branches = nn.Linear(20, 3), nn.Linear(20, 6)
    for x in (torch.randn(20), torch.randn(4, 20)):
        joined = Parallel(*branches, dim=-1)(x)
        assert joined.shape == (*x.shape[:-1], 9)
        assert torch.equal(joined, torch.cat([branch(x) for branch in branches], dim=-1))


def test_row_28_the_initialisation_of_the_chapter_is_a_quarter_a_half_and_a_quarter():
    torch.manual_seed(0)
    weight = initialise(nn.Linear(1000, 1000), GappedUniform()).weight.detach()
    n = weight.numel()
    # Five standard errors of each estimate.
    assert abs((weight == 0).double().mean() - 0.5) < 5 * 0.5 / math.sqrt(n)
    assert abs((weight > 0).double().mean() - 0.25) < 5 * 0.44 / math.sqrt(n)
    assert abs(weight.mean()) < 5 * math.sqrt(29.17 / n)
    assert abs(weight.std() - math.sqrt(175 / 6)) < 0.02
    sizes = weight[weight != 0].abs()
    assert (sizes.min() >= 5, sizes.max() <= 10) == (True, True)
    assert torch.allclose(
        torch.quantile(sizes[:100_000], torch.tensor([0.25, 0.5, 0.75])), torch.tensor([6.25, 7.5, 8.75]), atol=0.1
    )
    torch.testing.assert_close(GappedUniform().variance, torch.tensor(175 / 6))


def test_row_29_kernels_are_outputs_by_inputs_by_height_by_width():
    assert nn.Conv2d(3, 5, kernel_size=(2, 4)).weight.shape == (5, 3, 2, 4)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    pool = nn.MaxPool2d((2, 3), stride=(2, 3), padding=(0, 1))
    assert torch.equal(pool(x), torch.tensor([[[[5.0, 7.0], [13.0, 15.0]]]]))


def test_every_plain_network_is_its_twin_without_shortcuts():
    plain = [name for name in list_variants() if name.startswith("plain")]
    assert len(plain) == 10
    for name in plain:
        with torch.device("meta"):
            twin, without = build(name.replace("plain", "resnet")), build(name)
        assert {key for key in twin.state_dict() if "downsample" not in key} == set(without.state_dict())
        blocks = [module for module in without.modules() if isinstance(module, (BasicBlock, Bottleneck))]
        assert all(block.plain for block in blocks)
        assert not any(block.plain for block in twin.modules() if isinstance(block, (BasicBlock, Bottleneck)))
