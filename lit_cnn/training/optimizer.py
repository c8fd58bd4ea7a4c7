"""Optimisers of ``torch.optim`` by their names, so that a configuration can hold them."""

from __future__ import annotations

import difflib
from functools import partial
from inspect import signature
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

# Arguments that say how an optimiser goes over the parameters.
IMPLEMENTATIONS = {"foreach", "fused", "capturable", "differentiable"}


def find_optimizer(name: str) -> type[torch.optim.Optimizer]:
    """A class of ``torch.optim`` by its name.

    Raises:
        ValueError: If there is none of that name; offers the nearest.
    """
    found = getattr(torch.optim, name, None)
    if isinstance(found, type) and issubclass(found, torch.optim.Optimizer):
        return found
    names = [
        key
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and key != "Optimizer"
    ]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or sorted(names)
    raise ValueError(f"optimizer {name!r} is not in torch.optim; did you mean {', '.join(near)}?")


def optimizer_factory(
    name: str, lr: float, weight_decay: float, arguments: dict[str, Any] | None
) -> partial[torch.optim.Optimizer]:
    """What makes an optimiser from parameters.

    Args:
        name: Of a class in ``torch.optim``.
        lr: Learning rate.
        weight_decay: Where the optimiser has one.
        arguments: Further ones. If not given, SGD takes Nesterov momentum 0.9.

    Raises:
        ValueError: If there is no such optimiser or the arguments do not fit it.
    """
    kind = find_optimizer(name)
    if arguments is None:
        arguments = {"momentum": 0.9, "nesterov": True} if name == "SGD" else {}
    decay = {"weight_decay": weight_decay} if "weight_decay" in signature(kind).parameters else {}
    factory = partial(kind, lr=lr, **decay | arguments)
    try:
        factory([nn.Parameter(torch.zeros(1, 1))])
    except TypeError as error:
        raise ValueError(f"optimizer_args do not fit torch.optim.{name}: {error}") from error
    return factory


def fused(factory: partial[torch.optim.Optimizer], device: torch.device, trainer: pl.Trainer) -> dict[str, bool]:
    """The argument that lets one kernel update all parameters; none where that cannot be or was decided otherwise."""
    can_be = "fused" in signature(factory.func).parameters and device.type in ("cpu", "cuda")
    # In mixed precision Lightning clips no gradients for fused optimisers, and leaves them scaled for the dashboard.
    may_be = not trainer.gradient_clip_val and trainer.precision != "16-mixed"
    return {"fused": True} if can_be and may_be and not IMPLEMENTATIONS & factory.keywords.keys() else {}
