"""Vital signs of a network: what its activations and its gradients look like."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_cnn import layers
from lit_cnn.models import build
from lit_cnn.network.signs import activation_statistics, gradient_rms, weight_change, weighted_layers


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))


IMAGES = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_mean_and_sd_are_those_of_each_output():
    net = network()
    found = activation_statistics(net, IMAGES)
    assert [(name, one.class_name) for name, one in found.items()] == [("0", "Conv2d"), ("1", "ReLU"), ("3", "Linear")]
    output = net[0](IMAGES).detach()
    assert found["0"].mean == pytest.approx(float(output.mean()), rel=1e-5)
    assert found["0"].sd == pytest.approx(float(output.std(correction=0)), rel=1e-5)
    assert found["1"].mean == pytest.approx(float(output.relu().mean()), rel=1e-5)
    assert found["0"].dead is None
    assert found["1"].dead == 0


def test_a_channel_that_is_zero_at_every_position_of_every_image_is_dead():
    net = network()
    with torch.no_grad():
        net[0].bias[2] = -100
    assert activation_statistics(net, IMAGES)["1"].dead == 0.25
    flat = nn.Sequential(nn.Linear(2, 3), nn.ReLU6())
    with torch.no_grad():
        flat[0].bias.copy_(torch.tensor([-100.0, 100.0, -100.0]))
    assert activation_statistics(flat, torch.rand(7, 2))["1"].dead == pytest.approx(2 / 3)


class Functional(nn.Module):
    """Calls functions in place of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sigmoid())
        self.fc = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.block(x)).mean(dim=(2, 3))
        return torch.tanh(self.fc(x).relu_())


def test_activations_that_are_functions_are_found():
    found = activation_statistics(Functional(), IMAGES)
    assert {name: one.class_name for name, one in found.items()} == {
        "block.0": "Conv2d",
        "block.1": "Sigmoid",
        "relu": "ReLU",
        "fc": "Linear",
        "relu:2": "ReLU",
        "tanh": "Tanh",
    }
    assert found["tanh"].dead is None
    blocks = activation_statistics(build("resnet20", num_classes=10), torch.rand(2, 3, 32, 32))
    assert {"layer1.0.relu", "layer1.0.relu:2", "layer3.2.relu:2", "fc"} <= blocks.keys()
    assert sum(one.dead is not None for one in blocks.values()) == 19


def test_each_use_of_a_shared_layer_is_measured():
    found = activation_statistics(layers.shared_layers(), torch.rand(6, 4))
    assert list(found) == ["0", "1", "2", "3", "2:2", "5", "6"]


def test_nothing_of_the_network_or_of_the_random_numbers_changes():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), layers.BatchNorm2d(4), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(5)
    found = activation_statistics(net, IMAGES)
    random = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(random, torch.rand(3))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert found["1"].sd == pytest.approx(1, abs=1e-2)  # in training mode, by the batch
    assert net.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_the_hooks_are_removed_after_an_error():
    net = network()
    with pytest.raises(RuntimeError):
        activation_statistics(net, torch.rand(1, 2, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_the_rms_of_each_gradient_that_is_there():
    net = network()
    assert gradient_rms(net) == {}
    net(IMAGES).square().mean().backward()
    found = gradient_rms(net)
    assert list(found) == ["0", "3"]
    assert found["3"] == pytest.approx(float(net[3].weight.grad.norm()) / math.sqrt(net[3].weight.numel()), rel=1e-5)
    net[0].weight.grad = None
    assert list(gradient_rms(net)) == ["3"]


def test_the_change_of_weights_is_relative_to_their_size():
    net = network()
    before = {name: weight.detach().clone() for name, weight in weighted_layers(net).items()}
    with torch.no_grad():
        net[3].weight *= 1.01
    found = weight_change(net, before)
    assert found["0"] == 0
    assert found["3"] == pytest.approx(0.01, rel=1e-3)
    with torch.no_grad():
        net[3].weight.zero_()
    assert math.isnan(weight_change(net, {"3": net[3].weight.detach().clone()})["3"])  # of nothing there is no share
