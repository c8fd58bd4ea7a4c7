"""Which image sizes a network takes, found by trying them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from itertools import dropwhile, takewhile

import torch
from torch import nn

from lit_cnn.network.base import describe_range, evaluating

LARGEST_SIZE = 512


def takes(network: nn.Module, in_channels: int, image_size: int) -> bool:
    """Whether a forward pass on (1, in_channels, image_size, image_size) succeeds; computes only shapes."""
    state = {name: tensor.to("meta") for name, tensor in network.state_dict(keep_vars=True).items()}
    dtype = next((tensor.dtype for tensor in state.values() if tensor.is_floating_point()), None)
    images = torch.empty(1, in_channels, image_size, image_size, device="meta", dtype=dtype)
    try:
        # A compiled network is not compiled again for shapes.
        with evaluating(network), torch.no_grad(), torch.compiler.set_stance("force_eager"):
            torch.func.functional_call(network, state, (images,))
    except (RuntimeError, ValueError):
        return False
    return True


def range_of_sizes(takes_size: Callable[[int], bool]) -> tuple[int, int | None] | None:
    """Smallest and largest image size that a network takes; None if it takes none up to 512.

    If it takes 512, there is no largest size, and None in its place.
    """
    sizes = range(1, LARGEST_SIZE + 1)
    if takes_size(LARGEST_SIZE):
        # All sizes from the smallest on are taken.
        return sizes[bisect_left(sizes, True, key=takes_size)], None
    taken = list(takewhile(takes_size, dropwhile(lambda size: not takes_size(size), sizes)))
    return (taken[0], taken[-1]) if taken else None


def describe_sizes(takes_size: Callable[[int], bool]) -> str:
    """The sizes that a network takes, in words."""
    sizes = range_of_sizes(takes_size)
    return describe_range(*sizes) if sizes else f"no image up to {LARGEST_SIZE}×{LARGEST_SIZE}"
