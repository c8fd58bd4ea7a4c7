"""Faults of a network that show before it is trained."""

from __future__ import annotations

import math
from itertools import chain

import pytest
import torch
import yaml
from conftest import ROOT
from torch import nn
from torch.nn import functional as F

import lit_cnn
from lit_cnn.network.signs import gradient_rms, measure_forward
from lit_cnn.training.start_faults import find_loss_fault, find_start_faults

RECIPES = sorted((ROOT / "experiments" / "digits").glob("*.yaml"))
IMAGES = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(16) % 10


def faults(network: nn.Module, images: torch.Tensor = IMAGES, labels: torch.Tensor = LABELS) -> list[str]:
    F.cross_entropy(network(images), labels).backward()
    logits, statistics = measure_forward(network, images)
    loss = float(F.cross_entropy(logits, labels))
    return find_start_faults(network, statistics, gradient_rms(network), loss, logits.shape[1])


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 4 * 4, 10)
    )


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_start_without_a_fault(recipe):
    settings = yaml.safe_load(recipe.read_text())
    data = lit_cnn.Digits(seed=0, **settings["data"]["init_args"])
    data.prepare_data()
    data.setup("fit")
    torch.manual_seed(0)
    model = getattr(lit_cnn, settings["model"]["class_path"])
    classifier = model(num_classes=10, in_channels=1, **settings["model"]["init_args"])
    positions = torch.arange(16) * 7
    images = data.preprocessing(data.splits["train"].fetch(positions)).float()
    assert faults(classifier.network, images, data.splits["train"].labels[positions]) == []


def test_a_layer_without_positive_inputs_is_dead():
    network = small()
    with torch.no_grad():
        network[2].bias.fill_(-100)
    (fault,) = faults(network)
    assert fault == (
        "100% of the units of 3 are zero for every image of the batch and learn nothing: "
        "use a lower learning rate, biases of zero, Kaiming's initialisation or BatchNorm"
    )


def test_sigmoids_in_a_row_make_the_gradient_vanish():
    torch.manual_seed(0)
    layers = chain.from_iterable((nn.Linear(64, 64), nn.Sigmoid()) for _ in range(20))
    (fault,) = faults(nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, 10)))
    assert fault.startswith("the gradient of 1 (")
    assert " times that of 41 (" in fault
    assert fault.endswith(": it vanishes on its way; use ReLU, BatchNorm or another initialisation")


def test_many_layers_with_batch_norm_and_without_shortcuts_make_the_gradient_explode():
    torch.manual_seed(0)
    layers = chain.from_iterable((nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()) for _ in range(50))
    (fault,) = faults(nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, 10)))
    assert fault.endswith(": it explodes on its way; use smaller initial weights or shortcuts")


def test_weights_that_are_too_large_give_a_loss_far_from_a_guess():
    network = small()
    with torch.no_grad():
        for layer in (network[0], network[2], network[5]):
            layer.weight *= 10
    (fault,) = faults(network)
    assert fault.startswith("the first loss is ")
    assert "but a guess among 10 classes has ln(10) = 2.30: the first outputs are too large" in fault


def test_a_low_loss_is_a_fault_of_untrained_networks_only():
    guess = math.log(1000)
    assert find_loss_fault(guess, 1000) is None
    assert "cannot know the classes" in str(find_loss_fault(guess - 1.1, 1000))
    assert find_loss_fault(guess - 1.1, 1000, pretrained=True) is None
    assert find_loss_fault(0.0, 1) is None
