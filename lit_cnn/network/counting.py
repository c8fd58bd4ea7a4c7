"""Parameters and multiply-adds of a network and its layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lit_cnn.network.base import evaluating


@dataclass(frozen=True)
class Layer:
    """One call of a module in a forward pass.

    Args:
        name: Its name in the network; empty for the network itself.
        class_name: Name of its class.
        output_shape: Of one image.
        num_parameters: Weights and biases; 0 if the module was called before.
        multiply_adds: Of convolutions and linear layers, for one image; 0 if the module was called before.
    """

    name: str
    class_name: str
    output_shape: tuple[int, ...]
    num_parameters: int
    multiply_adds: int


def count_parameters(network: nn.Module) -> int:
    """Number of weights and biases; shared ones count once."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_multiply_adds(network: nn.Module, images: Tensor) -> int:
    """Multiply-adds of convolutions and linear layers in a forward pass, as torch counts them."""
    with evaluating(network), FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    total: int = counter.get_total_flops()
    return total // 2


def list_layers(network: nn.Module, images: Tensor, depth: int | None = None) -> list[Layer]:
    """The modules of a network in the order of a forward pass, the network itself last.

    Args:
        network: On the device of the images. On the meta device, only shapes are computed.
        images: One image (1, C, H, W).
        depth: Levels of nested blocks: 1 for the network's direct submodules; None for all levels.

    Raises:
        ValueError: If the network does not take the images, or the depth is below 1.
    """
    if depth is not None and depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    calls: list[tuple[str, nn.Module, tuple[int, ...]]] = []
    hooks = []
    for name, module in network.named_modules():
        level = len(name.split("."))
        leaf = not any(module.children())
        if isinstance(module, nn.Identity):
            continue  # in the place of a layer that other variants have
        if not name or level == depth or (leaf and (depth is None or level < depth)):

            def record(module: nn.Module, _: Any, output: Tensor, name: str = name) -> None:
                calls.append((name, module, tuple(output.shape)))

            hooks.append(module.register_forward_hook(record))
    try:
        with evaluating(network), FlopCounterMode(display=False) as counter, torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    flops = counter.get_flop_counts()
    root = type(network).__name__
    layers, seen = [], set()
    for name, module, shape in calls:
        repeated = name in seen
        seen.add(name)
        operations = 0 if repeated else sum(flops.get(f"{root}.{name}" if name else root, {}).values())
        layers.append(
            Layer(name, type(module).__name__, shape, 0 if repeated else count_parameters(module), operations // 2)
        )
    return layers
