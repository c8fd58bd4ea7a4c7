"""Class activation maps: where they are exact they sum to the logit, and they show the place that decides."""

import pytest
import torch
from torch import Tensor, nn

from lit_cnn.inference.explain.class_activation import class_activation
from lit_cnn.models import build
from lit_cnn.network.base import Network, Variant


class Squares(Network):
    """Tells bright from dark squares by the mean of what a convolution finds; exact unless a layer lies between."""

    def __init__(self, hidden: bool = False) -> None:
        super().__init__(Variant(paper="none", image_size=16), num_classes=2, in_channels=1)
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.hidden = nn.Sequential(nn.Linear(2, 2), nn.ReLU()) if hidden else nn.Identity()
        self.fc = nn.Linear(2, 2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.conv.weight[0] = 1.0  # bright
            self.conv.weight[1] = -1.0  # dark
            self.fc.weight.copy_(torch.eye(2))
            self.fc.bias.copy_(torch.tensor([0.5, -0.25]))
            if hidden:
                self.hidden[0].weight.copy_(2 * torch.eye(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.pool(self.conv(x)))
        return self.fc(self.hidden(self.dropout(self.avgpool(x).flatten(1))))


def planted() -> Tensor:
    """A bright square at the upper right of a grey image, (1, 16, 16)."""
    image = torch.zeros(1, 16, 16)
    image[0, 2:6, 10:14] = 1
    return image


@pytest.mark.parametrize("hidden", [False, True], ids=["exact", "Grad-CAM"])
def test_a_planted_square_is_where_the_class_is_seen(hidden: bool):
    activation = class_activation(Squares(hidden), planted(), 0)
    assert activation.is_exact is not hidden
    assert activation.values.shape == (8, 8)
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[:4, 4:] = True
    assert (activation.values[inside] > 0).sum() >= 4
    assert (activation.values[~inside] == 0).all()


def test_a_class_that_is_not_there_is_seen_nowhere():
    assert (class_activation(Squares(), planted(), 1).values == 0).all()


@pytest.mark.parametrize("variant", ["resnet20", "nin_cifar", "densenet_40_12", "googlenet"])
def test_an_exact_map_sums_to_the_logit_without_the_bias(variant: str):
    torch.manual_seed(0)
    network = build(variant, num_classes=10, in_channels=3).eval()
    size = 64 if variant == "googlenet" else 32
    image = torch.randn(3, size, size)
    with torch.no_grad():
        logits = network(image[None])[0]
    bias = {"resnet20": "fc", "googlenet": "fc", "densenet_40_12": "classifier"}.get(variant)
    for label in (0, 7):
        activation = class_activation(network, image, label)
        assert activation.is_exact
        offset = network.get_submodule(bias).bias[label].item() if bias else 0.0
        torch.testing.assert_close(activation.values.sum().item(), logits[label].item() - offset, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("variant", "size"), [("lenet", 28), ("vgg11_bn_small", 32), ("alexnet_half", 63)])
def test_other_networks_have_a_grad_cam_of_several_cells(variant: str, size: int):
    torch.manual_seed(0)
    network = build(variant, num_classes=10, in_channels=1)
    activation = class_activation(network, torch.randn(1, size, size), 3)
    assert not activation.is_exact
    assert min(activation.values.shape) > 1
    assert (activation.values >= 0).all()
    assert activation.layer


def test_the_network_is_left_as_it_was():
    network = Squares().train()
    network.conv.weight.requires_grad_(False)
    class_activation(network, planted(), 0)
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.conv._forward_hooks


def test_frozen_networks_have_maps_too():
    network = Squares(hidden=True).requires_grad_(False)
    with torch.no_grad():
        assert class_activation(network, planted(), 0).values.max() > 0


def test_a_network_without_feature_maps_has_none():
    with pytest.raises(ValueError, match="MLP has no feature map"):
        class_activation(build("mlp"), torch.zeros(1, 28, 28), 0)


def test_the_class_must_be_one_of_the_network():
    with pytest.raises(ValueError, match="label must be from 0 to 1, got 2"):
        class_activation(Squares(), planted(), 2)
