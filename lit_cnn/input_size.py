"""Which image sizes a network can take, found by asking it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

LARGEST_SIZE = 512


def takes(network: nn.Module, in_channels: int, image_size: int) -> bool:
    """Whether a forward pass on (1, in_channels, image_size, image_size) goes through; computes shapes, not values."""
    state = {name: tensor.to("meta") for name, tensor in network.state_dict(keep_vars=True).items()}
    dtype = next((tensor.dtype for tensor in state.values() if tensor.is_floating_point()), None)
    images = torch.empty(1, in_channels, image_size, image_size, device="meta", dtype=dtype)
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            torch.func.functional_call(network, state, (images,))
    except (RuntimeError, ValueError):
        return False
    finally:
        network.train(was_training)
    return True


def describe_sizes(takes_size: Callable[[int], bool]) -> str:
    """Says which sizes there are: "images of 28×28 to 31×31", "images of at least 15×15"."""
    sizes = range(1, LARGEST_SIZE + 1)
    smallest = next((size for size in sizes if takes_size(size)), None)
    if smallest is None:
        return f"no image up to {LARGEST_SIZE}×{LARGEST_SIZE}"
    if takes_size(LARGEST_SIZE):
        return f"images of at least {smallest}×{smallest}"
    largest = next(size for size in sizes[smallest:] if not takes_size(size)) - 1
    return f"images of {smallest}×{smallest}" + (f" to {largest}×{largest}" if largest > smallest else "")
