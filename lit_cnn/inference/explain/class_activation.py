"""Class activation maps: which places of an image speak for a class.

Sources: Zhou et al. 2016, "Learning deep features for discriminative localization", arXiv:1512.04150 (CAM);
Selvaraju et al. 2017, "Grad-CAM", arXiv:1610.02391; Jiang et al. 2021, "LayerCAM: exploring hierarchical class activation
maps for localization", IEEE TIP 30.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_cnn.inference.explain.places import Head, Place, kept, survey
from lit_cnn.network.base import evaluating


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


def class_activation(network: nn.Module, image: Tensor, label: int) -> ClassActivation:
    """The places of an image that speak for a class.

    Where the network ends in an average over each feature map and at most one linear layer, the map is exact (CAM). Else
    it is a Grad-CAM of the last feature maps with at least
    :data:`~lit_cnn.inference.explain.places.FEWEST_CELLS` cells a side.

    Args:
        network: From images to logits; used in evaluation mode, and left in its own.
        image: As the network takes it, (C, H, W).
        label: Number of the class.

    Raises:
        ValueError: If the network has no such class, or no feature map of several cells.
    """
    found = survey(network, image[None])
    if found.head is None:
        place = found.find()
        return ClassActivation(grad_cam(network, image[None], torch.tensor([label]), place)[0], False, place.name)
    values = exact_cam(network, image[None], torch.tensor([label]), found.head)
    return ClassActivation(values[0], True, found.head.maps.module)


def exact_cam(network: nn.Module, images: Tensor, targets: Tensor, head: Head) -> Tensor:
    """The share of each place in the logit of a class: they sum to the logit without its bias.

    Args:
        network: From images to logits.
        images: As the network takes them, (N, C, H, W).
        targets: Number of the class of each, (N,).
        head: The end of the network, see :func:`~lit_cnn.inference.explain.places.survey`.

    Shape:
        Output (N, h, w).

    Raises:
        ValueError: If the network has no such class.
    """
    with torch.no_grad(), evaluating(network), kept(network, head.maps) as found:
        logits = network(images)
    targets = _checked(targets, logits)
    maps = found[0]
    if head.linear is None:
        values = maps[torch.arange(len(maps), device=maps.device), targets]
    else:
        values = torch.einsum("nc,nchw->nhw", head.linear.weight.detach()[targets], maps)
    return values / maps[0, 0].numel()


def grad_cam(network: nn.Module, images: Tensor, targets: Tensor, place: Place) -> Tensor:
    """Feature maps weighed by the mean gradient of the class in each; what is below 0 is left out. As :func:`exact_cam`."""
    maps, gradients = _with_gradients(network, images, targets, place)
    return torch.einsum("nc,nchw->nhw", gradients.mean(dim=(2, 3)), maps).relu()


def layer_cam(network: nn.Module, images: Tensor, targets: Tensor, place: Place) -> Tensor:
    """Feature maps weighed by the gradient of the class at each place, where it is above 0. As :func:`exact_cam`."""
    maps, gradients = _with_gradients(network, images, targets, place)
    return (gradients.relu() * maps).sum(dim=1).relu()


def _with_gradients(network: nn.Module, images: Tensor, targets: Tensor, place: Place) -> tuple[Tensor, Tensor]:
    """The maps at a place, and the gradients of the logits with respect to them; none is kept in the network."""
    # Also where the caller switched gradients off, or froze the network.
    with torch.inference_mode(False), torch.enable_grad(), evaluating(network), kept(network, place) as found:
        start = images.detach().clone().requires_grad_()
        logits = network(start * 1)  # a first layer may work in place
        targets = _checked(targets, logits).clone()  # which may be of inference mode
        (gradients,) = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), found[0])
    return found[0].detach(), gradients


def _checked(targets: Tensor, logits: Tensor) -> Tensor:
    num_classes = logits.shape[1]
    for target in targets.tolist():
        if not 0 <= target < num_classes:
            raise ValueError(f"label must be from 0 to {num_classes - 1}, got {target}")
    return targets.to(logits.device)
