"""Which pixels a logit depends on: by covering parts of the image, and by gradients on the way to it from a plain image.

Both compare with an image of the mean colour of the training images. Captum computes them.

Sources: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", arXiv:1311.2901 (occlusion);
Sundararajan, Taly and Yan 2017, "Axiomatic attribution for deep networks", arXiv:1703.01365 (integrated gradients).
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from lit_cnn.network.base import evaluating

# So many covering squares lie side by side in an image; they overlap by half.
SQUARES = 7
# Steps of the integral: doubled until its sum is within the tolerance of what it must be, up to the second number.
STEPS = 32
MOST_STEPS = 1024
TOLERANCE = 0.01
LEAST_GAP = 1e-3  # logits: a difference of zero has no relative error
# Images that are computed at a time.
BATCH_SIZE = 32


def occlusion(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """By how much the logit of a class falls when a square around a pixel is covered, the mean over all such squares.

    Args:
        network: From images to logits; used in evaluation mode, and left in its own.
        images: As the network takes them, (N, C, H, W); zero is the mean colour.
        targets: Number of the class of each, (N,).

    Shape:
        Output (N, H, W).
    """
    from captum.attr import Occlusion

    channels, height, width = images.shape[1:]
    side = max(1, round(min(height, width) / SQUARES))
    step = (side + 1) // 2
    with torch.no_grad(), evaluating(network):
        values = [
            Occlusion(network).attribute(
                image[None],
                sliding_window_shapes=(channels, side, side),
                strides=(channels, step, step),
                baselines=0,
                target=target,
                perturbations_per_eval=BATCH_SIZE,
            )[0, 0]
            for image, target in zip(images, targets.tolist(), strict=True)
        ]
    return torch.stack(values)


def integrated_gradients(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """The share of each pixel in the difference of the logit to that of the mean colour; summed over the colours.

    The shares of an image sum to the difference within 1 %, or a warning tells by how much they miss it.

    Args, Shape: as :func:`occlusion`.
    """
    with torch.inference_mode(False), torch.enable_grad(), evaluating(network):
        values = [
            _integrate(network, image[None].detach().clone(), target)
            for image, target in zip(images, targets.tolist(), strict=True)
        ]
    return torch.stack(values)


def _integrate(network: nn.Module, image: Tensor, target: int) -> Tensor:
    from captum.attr import IntegratedGradients

    with torch.no_grad():
        change = float((network(image) - network(torch.zeros_like(image)))[0, target])
    method = IntegratedGradients(lambda images: network(images * 1))  # a first layer may work in place
    num_steps = STEPS
    while True:
        values = method.attribute(
            image, baselines=0, target=target, n_steps=num_steps, internal_batch_size=min(BATCH_SIZE, num_steps)
        ).detach()
        gap = abs(float(values.sum()) - change)
        if gap <= max(TOLERANCE * abs(change), LEAST_GAP):
            break
        if num_steps >= MOST_STEPS:
            warnings.warn(
                f"integrated gradients sum to {float(values.sum()):.4g}, but the logit differs by {change:.4g}: "
                f"{num_steps:,} steps are too few for this network",
                stacklevel=2,
            )
            break
        num_steps *= 2
    return values[0].sum(dim=0)
