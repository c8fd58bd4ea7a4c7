"""Parts of a network: heads, first convolution, frozen parts, groups with their own learning rate."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from lit_cnn import layers
from lit_cnn.network.names import nearest

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, layers.BatchNorm1d, layers.BatchNorm2d)


def head_names(network: nn.Module) -> tuple[str, ...]:
    """Names of the layers that output the classes: the network's ``heads``, else its last layer with weights."""
    declared = getattr(network, "heads", None)
    if declared is None:
        declared = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1:]
    known = dict(network.named_modules())
    return tuple(name for name in declared if name in known)


def first_convolution(network: nn.Module) -> str | None:
    """Name of the convolution that reads the images; None if there is none."""
    return next((name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)), None)


def freeze(network: nn.Module, up_to: str) -> None:
    """Freezes the first parts of a network.

    Args:
        network: Defines its modules in the order in which it calls them.
        up_to: ``none``; ``backbone``, all but the heads; or the name of a part, such as ``layer2``: it and all before it.

    Raises:
        ValueError: If there is no such part before the heads; suggests similar names.
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
        # The parts of a part follow it.
        end = max(index for index, name in enumerate(before) if name == up_to or name.startswith(f"{up_to}."))
        frozen = before[: end + 1]
    for name in frozen:
        # Not those of its submodules: some of them may stay trainable.
        for parameter in network.get_submodule(name).parameters(recurse=False):
            parameter.requires_grad_(False)


def frozen_norms(network: nn.Module) -> list[nn.Module]:
    """Frozen BatchNorms. They must be in evaluation mode: in training mode, their running statistics would change."""
    norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]
    return [norm for norm in norms if norm.weight is not None and not norm.weight.requires_grad]


def parameter_groups(
    network: nn.Module,
    lr: float,
    backbone_lr_scale: float,
    norm_weight_decay: float | None = None,
    later: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Groups for an optimiser, without frozen parameters.

    The heads have the rate ``lr``, all others ``lr * backbone_lr_scale``. If the scale is 1, there is one group.

    Args:
        network: Its parameters.
        lr: Learning rate.
        backbone_lr_scale: See above.
        norm_weight_decay: Weight decay of the parameters of one dimension: biases, and those of normalisation layers. They
            get groups of their own, each after the group of the other parameters with the same rate. None: the optimiser's.
        later: Names of frozen parameters that will be trained later. They get groups of their own after the others: torch's
            fused SGD does not take parameters with and without a momentum in one group.
    """
    heads = head_names(network) if backbone_lr_scale != 1 else ()
    named = dict(network.named_parameters())
    now = [name for name, parameter in named.items() if parameter.requires_grad and name not in later]
    groups: list[dict[str, Any]] = []
    for names in (now, [name for name in named if name in later]):
        of_backbone = [named[name] for name in names if name.rpartition(".")[0] not in heads]
        of_heads = [named[name] for name in names if name.rpartition(".")[0] in heads]
        for parameters, rate in ((of_backbone, lr * backbone_lr_scale), (of_heads, lr)):
            if norm_weight_decay is None:
                groups.append({"params": parameters, "lr": rate})
                continue
            groups.append({"params": [parameter for parameter in parameters if parameter.ndim > 1], "lr": rate})
            norms = [parameter for parameter in parameters if parameter.ndim <= 1]
            groups.append({"params": norms, "lr": rate, "weight_decay": norm_weight_decay})
    return [group for group in groups if group["params"]]
