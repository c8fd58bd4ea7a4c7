"""Measures of features whose answers are known by construction."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_cnn.claims import features
from lit_cnn.claims.measures import accuracy
from lit_cnn.layers import DenseBlock
from lit_cnn.models import build


class Dense(nn.Module):
    """One dense block between pixels and logits; its last layer's outputs are the logits."""

    def __init__(self, bottleneck: bool = False) -> None:
        super().__init__()
        self.block = DenseBlock(3, 2, 4, bottleneck)
        self.block.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)[:, -4:].mean((2, 3))


@pytest.mark.parametrize("bottleneck", [False, True])
def test_use_of_earlier_features_is_the_mean_absolute_weight_by_source(bottleneck: bool):
    network = Dense(bottleneck)
    last = network.block.denselayer3.conv1.weight.data
    last[:, :2], last[:, 2:6], last[:, 6:] = 1.0, -4.0, 2.0
    network.block.denselayer2.conv1.weight.data[:] = 3.0
    network.block.denselayer1.conv1.weight.data[:] = 0.0
    assert features.use_of_earlier_features(network) == {"block": [[0.0], [1.0, 1.0], [0.25, 1.0, 0.5]]}


def test_a_network_without_dense_blocks_has_no_features_to_reuse():
    with pytest.raises(ValueError, match="LeNet has no dense block; take a DenseNet"):
        features.use_of_earlier_features(build("lenet"))


def reading(source: int) -> tuple[Dense, Tensor, Tensor]:
    """A block whose last layer copies the outputs of one source, which are the labels; and images with labels."""
    network = Dense()
    for layer in network.block:
        nn.init.zeros_(layer.conv1.weight)
    start = 0 if source == 0 else 2 + 4 * (source - 1)
    for channel in range(2):
        for layer, first in ((network.block[2], start), *([(network.block[source - 1], 0)] if source else [])):
            layer.conv1.weight.data[channel, first + channel, 1, 1] = 1.0
    labels = torch.arange(40) % 2
    images = F.one_hot(labels, 2).float().view(-1, 2, 1, 1).expand(-1, -1, 6, 6).clone()
    return network, images, labels


@pytest.mark.parametrize("used", [0, 1, 2])
@pytest.mark.parametrize("removed", [0, 1, 2])
def test_accuracy_falls_without_the_source_that_is_read(used: int, removed: int):
    network, images, labels = reading(used)
    assert accuracy(network, images, labels) == 1
    # Sources 1 and 2 copy the block's input.
    falls = removed in (used, 0)
    assert features.accuracy_without(network, images, labels, "block", removed) == (0.5 if falls else 1)
    assert accuracy(network, images, labels) == 1


def test_the_layer_after_a_source_can_keep_it():
    # Layer 3 reads layer 1, and layer 2 does not; or layer 3 reads layer 2, which comes right before it.
    network, images, labels = reading(1)
    assert features.accuracy_without(network, images, labels, "block", 1, keep_next=True) == 0.5
    # Layer 2 still reads the block's input.
    network, images, labels = reading(2)
    assert features.accuracy_without(network, images, labels, "block", 0) == 0.5
    assert features.accuracy_without(network, images, labels, "block", 1, keep_next=True) == 1
    with pytest.raises(ValueError, match="source must be from 0 to 1, got 2"):
        features.accuracy_without(network, images, labels, "block", 2, keep_next=True)


@pytest.mark.parametrize("source", [-1, 3])
def test_a_source_must_have_later_layers(source: int):
    network, images, labels = reading(1)
    with pytest.raises(ValueError, match=f"source must be from 0 to 2, got {source}"):
        features.accuracy_without(network, images, labels, "block", source)
    with pytest.raises(ValueError, match=r"unknown dense block 'blok'; .*block"):
        features.accuracy_without(network, images, labels, "blok", 0)


@pytest.mark.parametrize("keep_next", [False, True])
def test_removed_features_are_replaced_by_their_mean(keep_next: bool):
    network, images, labels = reading(1)
    read: list[Tensor] = []
    network.block[2].conv1.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].clone()))
    for layer in network.block:  # so that what the convolution reads is what the layer reads
        layer.norm1, layer.relu1 = nn.Identity(), nn.Identity()
    images = images * torch.rand(40, 1, 6, 6)
    with torch.inference_mode():
        network(images)
    features.accuracy_without(network, images, labels, "block", 1, keep_next)
    before, after = read
    assert torch.equal(after[:, :2], before[:, :2])
    assert torch.equal(after[:, 6:], before[:, 6:])
    means = before[:, 2:6].mean((0, 2, 3), keepdim=True)
    assert means.abs().max() > 0.1
    assert torch.allclose(after[:, 2:6], means.expand(40, 4, 6, 6))


# Diversity


class Features(nn.Module):
    """Gives the first row of pixels to a linear layer, after another one."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier, self.first = nn.Linear(4, 3), nn.Linear(4, 4)
        self.modes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(self.training)
        self.first(-x[:, 0, 1, :4])
        return self.classifier(x[:, 0, 0, :4])


def images_with(*columns: Tensor) -> Tensor:
    images = torch.randn(len(columns[0]), 1, 2, 4)
    images[:, 0, 0] = torch.stack(columns, dim=1)
    return images


def test_correlation_is_the_mean_over_all_pairs_of_features():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(1200, 4, generator=generator)
    values[:, 1] = values[:, 0] + values[:, 1]
    network = Features().train()
    found = features.feature_correlation(network, images_with(*values.T))
    matrix = torch.corrcoef(values.T.double()).abs()
    assert found == pytest.approx((matrix.sum().item() - 4) / 12)
    assert (network.modes, network.training) == ([False] * 3, True)
    assert not network.classifier._forward_pre_hooks


def test_copies_and_negatives_are_alike_and_constant_features_do_not_count():
    one = torch.arange(40.0)
    other = torch.tensor([1.0, -1.0, -1.0, 1.0]).repeat(10)
    constant = torch.full((40,), 0.1)
    constant[::2] = constant[0].nextafter(torch.tensor(1.0))
    network = Features()
    assert features.feature_correlation(network, images_with(one, -2 * one, one + 3, 5 * one)) == pytest.approx(1)
    assert features.feature_correlation(network, images_with(one, constant, -one, constant)) == pytest.approx(1)
    assert features.feature_correlation(network, images_with(one, other, constant, constant)) == pytest.approx(0, abs=1e-9)
    assert math.isnan(features.feature_correlation(network, images_with(one, constant, constant, constant)))


def test_features_are_those_before_a_linear_layer():
    with pytest.raises(ValueError, match="Conv2d has no linear layer, whose features could be compared"):
        features.feature_correlation(nn.Conv2d(1, 1, 1), torch.rand(2, 1, 2, 2))
