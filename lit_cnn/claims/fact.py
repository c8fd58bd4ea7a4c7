"""What a check of an exact claim returns, and how its tensors are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Fact:
    """One result of a check.

    Args:
        text: What was computed, with its numbers.
        holds: Whether it is what the definition demands.
    """

    text: str
    holds: bool


def gap_of(a: Tensor, b: Tensor) -> float:
    """Largest difference of two tensors; infinite if they have different shapes."""
    return (a - b).abs().max().item() if a.shape == b.shape else math.inf


def count_weights(network: nn.Module) -> int:
    """Weights of the convolutions, without biases and BatchNorm."""
    return sum(module.weight.numel() for module in network.modules() if isinstance(module, nn.Conv2d))
