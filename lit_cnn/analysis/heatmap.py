"""Class activation maps: which places of an image speak for a class.

Sources: Zhou et al. 2016, "Learning deep features for discriminative localization", arXiv:1512.04150 (CAM);
Selvaraju et al. 2017, "Grad-CAM", arXiv:1610.02391.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_cnn.network.base import evaluating

# A Grad-CAM of fewer cells a side shows no place: an earlier layer is taken, if one has more.
FEWEST_CELLS = 4


@dataclass(frozen=True, eq=False)
class ClassActivation:
    """Which places of an image speak for a class.

    Args:
        values: (h, w). If exact, the share of each place in the logit: they sum to the logit without its bias. Of a
            Grad-CAM, what speaks for the class, at least 0.
        is_exact: Whether it is a CAM, not a Grad-CAM.
        layer: Name of the module whose feature maps were taken.
    """

    values: Tensor
    is_exact: bool
    layer: str


@dataclass(frozen=True, eq=False)
class _Call:
    """A call of a module in a forward pass."""

    name: str
    module: nn.Module
    input: Tensor
    output: Tensor


def class_activation(network: nn.Module, image: Tensor, label: int) -> ClassActivation:
    """The places of an image that speak for a class.

    Where the network ends in an average over each feature map and at most one linear layer, the map is exact (CAM). Else
    it is a Grad-CAM of the last feature maps with at least :data:`FEWEST_CELLS` cells a side.

    Args:
        network: From images to logits; used in evaluation mode, and left in its own.
        image: As the network takes it, (C, H, W).
        label: Number of the class.

    Raises:
        ValueError: If the network has no such class, or no feature map of several cells.
    """
    # Also where the caller switched gradients off, or froze the network.
    with torch.inference_mode(False), torch.enable_grad(), evaluating(network):
        start = image.detach().clone().requires_grad_()
        calls, logits = _calls(network, start[None] * 1)
        num_classes = logits.shape[1]
        if not 0 <= label < num_classes:
            raise ValueError(f"label must be from 0 to {num_classes - 1}, got {label}")
        return _exact(calls, logits, label) or _gradient_map(network, calls, logits[0, label])


def _calls(network: nn.Module, images: Tensor) -> tuple[list[_Call], Tensor]:
    """The calls of a network's modules in the order in which they end, and the logits."""
    calls: list[_Call] = []
    hooks = []
    for name, module in network.named_modules():
        if not name:
            continue

        def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                calls.append(_Call(name, module, inputs[0], output))

        hooks.append(module.register_forward_hook(record))
    try:
        return calls, network(images)
    finally:
        for hook in hooks:
            hook.remove()


def _exact(calls: list[_Call], logits: Tensor, label: int) -> ClassActivation | None:
    """The CAM; None if the network ends otherwise, or its feature maps have one cell."""
    averages = [call for call in calls if isinstance(call.module, nn.AdaptiveAvgPool2d) and call.output.shape[2:] == (1, 1)]
    if not averages or min(averages[-1].input.shape[2:]) < 2:
        return None
    maps, means = averages[-1].input[0].detach(), averages[-1].output.flatten(1)
    num_places = maps[0].numel()
    layer = averages[-1].name
    if torch.equal(means, logits):
        return ClassActivation(maps[label] / num_places, True, layer)
    heads = [call for call in calls if isinstance(call.module, nn.Linear)]
    # Between average and head there may be what changes nothing, such as a dropout in evaluation mode.
    if not heads or not torch.equal(heads[-1].output, logits) or not _equal(heads[-1].input, means):
        return None
    weights = heads[-1].module.weight.detach()[label]
    return ClassActivation(torch.einsum("c,chw->hw", weights, maps) / num_places, True, layer)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _gradient_map(network: nn.Module, calls: list[_Call], logit: Tensor) -> ClassActivation:
    """The Grad-CAM."""
    found = [call for call in calls if call.output.ndim == 4 and call.output.requires_grad]
    found = [call for call in found if min(call.output.shape[2:]) > 1]
    if not found:
        raise ValueError(f"{type(network).__name__} has no feature map of several cells, so that there is no place to show")
    fine = [call for call in found if min(call.output.shape[2:]) >= FEWEST_CELLS]
    chosen = (fine or found)[-1]
    # A layer that works in place has changed the tensor: its values and its gradient are those of the last change.
    (gradient,) = torch.autograd.grad(logit, chosen.output)
    weights = gradient[0].mean(dim=(1, 2))
    values = torch.einsum("c,chw->hw", weights, chosen.output[0].detach()).relu()
    return ClassActivation(values, False, chosen.name)
