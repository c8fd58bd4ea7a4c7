"""Optimisers of ``torch.optim`` by name, so that a configuration can hold them."""

from __future__ import annotations

import difflib
from functools import partial
from inspect import signature
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from lit_cnn.network.parts import parameter_groups

# Optimisers that cannot train these networks, and why.
UNSUITABLE = {
    "LBFGS": "it needs several passes over the batch for each step",
    "Muon": "it only trains matrices, and these networks also have biases and convolutions",
    "SparseAdam": "it needs sparse gradients, and those of these networks are dense",
}

# Arguments that choose how an optimiser updates the parameters.
IMPLEMENTATIONS = {"foreach", "fused", "capturable", "differentiable"}

# Arguments of an optimiser that are not among its further ones.
OWN_ARGUMENTS = {"lr", "params", "weight_decay"}


def find_optimizer(name: str) -> type[torch.optim.Optimizer]:
    """A class of ``torch.optim`` by its name.

    Raises:
        ValueError: If there is no optimiser of that name, with the nearest ones; or if it cannot train these networks.
    """
    if name in UNSUITABLE:
        raise ValueError(f"optimizer {name} cannot be used: {UNSUITABLE[name]}; use SGD or AdamW, for example")
    cls = getattr(torch.optim, name, None)
    if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer):
        return cls
    names = [
        key
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and key not in {"Optimizer", *UNSUITABLE}
    ]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or sorted(names)
    raise ValueError(f"optimizer {name!r} is not in torch.optim; did you mean {', '.join(near)}?")


def rate_of(classifier: pl.LightningModule, optimizer: torch.optim.Optimizer) -> float:
    """The learning rate now, without the scale of the backbone, which other groups of parameters have."""
    rates = [group["lr"] for group in optimizer.param_groups]
    return max(rates) if getattr(classifier, "hparams", {}).get("backbone_lr_scale", 1) <= 1 else min(rates)


def require_weight_decay(name: str) -> None:
    """Raises a ValueError if an optimiser of ``torch.optim`` has no weight decay."""
    if "weight_decay" not in signature(find_optimizer(name)).parameters:
        raise ValueError(f"optimizer {name} has no weight decay: leave norm_weight_decay out, or use SGD or AdamW")


def optimizer_factory(
    name: str, lr: float, weight_decay: float, arguments: dict[str, Any] | None
) -> partial[torch.optim.Optimizer]:
    """A function that makes an optimiser from parameters.

    Args:
        name: Name of a class in ``torch.optim``.
        lr: Learning rate.
        weight_decay: Weight decay, if the optimiser has one.
        arguments: Further arguments, not of :data:`OWN_ARGUMENTS`. If not given, SGD uses Nesterov momentum 0.9.

    Raises:
        ValueError: If there is no such optimiser, or the arguments do not fit it.
    """
    cls = find_optimizer(name)
    if arguments is None:
        arguments = {"momentum": 0.9, "nesterov": True} if name == "SGD" else {}
    if own := sorted(OWN_ARGUMENTS & arguments.keys()):
        instead = "leave it out" if own[0] == "params" else f"give {own[0]} (--model.{own[0]})"
        raise ValueError(f"optimizer_args cannot hold {own[0]}: {instead}")
    decay = {"weight_decay": weight_decay} if "weight_decay" in signature(cls).parameters else {}
    factory = partial(cls, lr=lr, **decay | arguments)
    try:
        factory([nn.Parameter(torch.zeros(1, 1))])
    except TypeError as error:
        raise ValueError(f"optimizer_args do not fit torch.optim.{name}: {error}") from error
    return factory


def groups_of(classifier: pl.LightningModule) -> list[dict[str, Any]]:
    """The groups of a classifier's parameters for its optimiser; with those that ``unfreeze_at`` trains later."""
    hparams = classifier.hparams
    later = () if hparams["unfreeze_at"] is None else classifier.frozen_parameters
    rates = hparams["lr"], hparams["backbone_lr_scale"]
    return parameter_groups(classifier.network, *rates, hparams["norm_weight_decay"], later)


def fused(factory: partial[torch.optim.Optimizer], device: torch.device, trainer: pl.Trainer) -> dict[str, bool]:
    """The argument for one kernel that updates all parameters; empty if there is none, or if the user chose otherwise."""
    available = "fused" in signature(factory.func).parameters and device.type in ("cpu", "cuda")
    # In mixed precision, Lightning does not clip gradients of fused optimisers, and the dashboard would see scaled ones.
    allowed = not trainer.gradient_clip_val and trainer.precision != "16-mixed"
    return {"fused": True} if available and allowed and not IMPLEMENTATIONS & factory.keywords.keys() else {}
