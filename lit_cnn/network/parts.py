"""Which parts of a trained network learn on, and how fast."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lit_cnn import layers
from lit_cnn.network.names import nearest

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


def freeze(network: nn.Module, up_to: str) -> None:
    """Stops the first part of a network from learning.

    Args:
        network: Its parts with parameters in the order in which it computes them.
        up_to: ``none``; ``backbone``, all but the heads; or the name of a part, such as ``layer2``: that and all before it.

    Raises:
        ValueError: If there is no such part before the heads; offers the nearest.
    """
    if up_to == "none":
        return
    heads = head_names(network)
    parts = [name for name, module in network.named_modules() if name and any(True for _ in module.parameters())]
    if up_to == "backbone":
        frozen = [name for name in parts if name not in heads]
    else:
        before = parts[: min(parts.index(head) for head in heads)]
        known = [name for name in before if not any(head.startswith(f"{name}.") for head in heads)]
        if up_to not in known:
            stages = [name for name in known if "." not in name.removeprefix("features.")]
            raise ValueError(
                f"freeze must be none, backbone or a part of the network with parameters before its last layer, "
                f"got {up_to!r}; {nearest(up_to, ['none', 'backbone', *stages])}"
            )
        # Parts come with their own parts behind them.
        end = max(index for index, name in enumerate(before) if name == up_to or name.startswith(f"{up_to}."))
        frozen = before[: end + 1]
    for name in frozen:
        # Its own alone: a container comes before its parts, of which some may learn on.
        for parameter in network.get_submodule(name).parameters(recurse=False):
            parameter.requires_grad_(False)


def frozen_norms(network: nn.Module) -> list[nn.Module]:
    """BatchNorms that do not learn: left in training, they would go on counting the images."""
    norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]
    return [norm for norm in norms if norm.weight is not None and not norm.weight.requires_grad]


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
