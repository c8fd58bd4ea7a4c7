"""Which parts of a trained network learn on, and how fast."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lit_cnn import layers
from lit_cnn.network import nearest

BATCH_NORMS = (_BatchNorm, layers.BatchNorm1d, layers.BatchNorm2d)


def head_names(network: nn.Module) -> tuple[str, ...]:
    """Names of the layers whose outputs are the classes: those that the network names, else its last layer with weights."""
    declared = getattr(network, "heads", None)
    if declared is None:
        kinds = (nn.Linear, nn.Conv2d)
        declared = [name for name, module in network.named_modules() if isinstance(module, kinds)][-1:]
    known = dict(network.named_modules())
    return tuple(name for name in declared if name in known)


def first_convolution(network: nn.Module) -> str | None:
    """Name of the convolution that reads the images; None for a network without."""
    return next((name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)), None)


def freeze(network: nn.Module, up_to: str) -> list[nn.Module]:
    """Stops the first part of a network from learning.

    Args:
        network: Its parts in the order in which it computes them.
        up_to: ``none``; ``backbone``, all but the heads; or the name of a part, such as ``layer2``: that and all before it.

    Returns:
        The BatchNorms in the frozen part: left in training, they would go on counting the images.

    Raises:
        ValueError: If there is no such part, or nothing would be left to learn; offers the nearest name.
    """
    if up_to == "none":
        return []
    heads = head_names(network)
    parts = [name for name, _ in network.named_modules() if name]
    if up_to == "backbone":
        frozen = [name for name in parts if name not in heads]
    elif up_to in parts:
        # Parts come with their own parts behind them.
        end = max(index for index, name in enumerate(parts) if name == up_to or name.startswith(f"{up_to}."))
        frozen = parts[: end + 1]
    else:
        stages = [name for name in parts if "." not in name.removeprefix("features.") and name not in heads]
        offered = ["none", "backbone", *stages]
        raise ValueError(f"freeze must be none, backbone or a part of the network, got {up_to!r}; {nearest(up_to, offered)}")
    modules = [network.get_submodule(name) for name in frozen]
    for module in modules:
        # Its own alone: a container comes before its parts, of which some may learn on.
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(f"freeze={up_to} leaves nothing to learn")
    return [module for module in modules if isinstance(module, BATCH_NORMS)]


def parameter_groups(network: nn.Module, lr: float, backbone_lr_scale: float) -> list[dict[str, Any]]:
    """What learns, for an optimiser: the heads at ``lr``, the rest at ``lr * backbone_lr_scale``; one group if that is 1."""
    learning = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    if backbone_lr_scale == 1:
        return [{"params": [parameter for _, parameter in learning], "lr": lr}]
    heads = head_names(network)

    def group(of_heads: bool, rate: float) -> dict[str, Any]:
        return {"params": [p for name, p in learning if (name.rpartition(".")[0] in heads) == of_heads], "lr": rate}

    groups = [group(False, lr * backbone_lr_scale), group(True, lr)]
    return [one for one in groups if one["params"]]
