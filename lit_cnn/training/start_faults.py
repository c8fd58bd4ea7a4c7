"""What is wrong with a network before it is trained, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import nn

from lit_cnn.network.signs import ActivationStatistics, weighted_layers

# The loss of a guess is ln(classes). Random logits of standard deviation s add about s²/2. The most that a network of this
# package starts with is 10.5 more (AlexNet, whose last layer has Kaiming's initialisation), and it trains.
HIGHEST_EXCESS = 12.0
# Random weights know nothing of the labels: chance alone does not bring the loss this far below ln(classes).
LOWEST_EXCESS = -1.0
# Each ReLU is positive for half of all inputs at the start. The sound networks have at most 0.42 of a layer dead.
DEAD = 0.5
# The gradient's root mean square in the first layer, as a multiple of that in the last. The default variants start between
# 0.02 and 20; plain networks of 50 and more layers exceed 1000.
VANISHED, EXPLODED = 1e-3, 1e3


def find_start_faults(
    network: nn.Module,
    statistics: Mapping[str, ActivationStatistics],
    gradients: Mapping[str, float],
    loss: float,
    num_classes: int,
    pretrained: bool = False,
) -> list[str]:
    """Signs that a network will learn badly or not at all.

    Args:
        network: The network.
        statistics: From :func:`lit_cnn.network.signs.activation_statistics`.
        gradients: From :func:`lit_cnn.network.signs.gradient_rms`, of the first step.
        loss: Plain cross-entropy of the first batch, without class weights and label smoothing.
        num_classes: Outputs of the network.
        pretrained: Whether the weights were trained before: then a low loss is no fault.

    Returns:
        A sentence for each, with what to do; empty if nothing is wrong.
    """
    faults = [find_loss_fault(loss, num_classes, pretrained), find_dead_layers(statistics)]
    faults.append(find_gradient_fault(network, statistics, gradients))
    return [fault for fault in faults if fault]


def find_loss_fault(loss: float, num_classes: int, pretrained: bool = False) -> str | None:
    """A first loss that is far from ln(classes), the loss of a guess."""
    guess = math.log(num_classes)
    start = f"the first loss is {loss:.4g}, but a guess among {num_classes} classes has ln({num_classes}) = {guess:.2f}"
    if loss - guess > HIGHEST_EXCESS:
        return f"{start}: the first outputs are too large; normalise the images, or initialise the weights smaller"
    if loss - guess < LOWEST_EXCESS and not pretrained:
        return f"{start}: an untrained network cannot know the classes; check the labels of the first batches"
    return None


def find_dead_layers(statistics: Mapping[str, ActivationStatistics]) -> str | None:
    """ReLUs of which more than half pass nothing on for any image of the batch."""
    shares = {name: one.dead for name, one in statistics.items() if one.dead is not None and one.dead > DEAD}
    if not shares:
        return None
    worst = max(shares, key=shares.__getitem__)
    others = f", and more than half in {len(shares) - 1} other layers" if len(shares) > 1 else ""
    return (
        f"{shares[worst]:.0%} of the units of {worst} are zero for every image of the batch and learn nothing{others}: "
        f"use a lower learning rate, biases of zero, Kaiming's initialisation or BatchNorm"
    )


def find_gradient_fault(
    network: nn.Module, statistics: Mapping[str, ActivationStatistics], gradients: Mapping[str, float]
) -> str | None:
    """A gradient that vanishes or explodes between the last and the first layer."""
    weights = weighted_layers(network)
    # Convolutions and linear layers in the order in which they run; the scales of BatchNorm have one dimension.
    layers = [name for name in statistics if name in gradients and weights[name].ndim > 1]
    if len(layers) < 2 or not gradients[layers[-1]] > 0:
        return None
    first, last = layers[0], layers[-1]
    ratio = gradients[first] / gradients[last]
    compared = (
        f"the gradient of {first} ({gradients[first]:.2g}) is {ratio:.2g} times that of {last} ({gradients[last]:.2g})"
    )
    if ratio < VANISHED:
        return f"{compared}: it vanishes on its way; use ReLU, BatchNorm or another initialisation"
    if ratio > EXPLODED:
        return f"{compared}: it explodes on its way; use smaller initial weights or shortcuts"
    return None
