"""Loads weights into a network, which may have other classes and other channels."""

from __future__ import annotations

import re
from dataclasses import replace

from torch import Tensor, nn

from lit_cnn.network.parts import first_convolution, head_names
from lit_cnn.weights.sources import StateDict, Weights

# GoogLeNet's heads that only training uses.
AUXILIARY = ("aux1.", "aux2.")


def load_torchvision_weights(network: nn.Module, state_dict: StateDict) -> None:
    """Loads the weights of torchvision's network of the same name into a network.

    Both use the same names, except old files of DenseNets. Auxiliary heads are loaded if both have them.

    Args:
        network: Made by :func:`lit_cnn.models.build`, with the same numbers of classes and channels.
        state_dict: Of torchvision's network, or from the file of its weights.

    Raises:
        ValueError: If the weights are of another architecture, or of other shapes; names the first mismatch.
    """
    own, given = network.state_dict(), _with_current_names(state_dict)
    for head in AUXILIARY:
        if not (_has(own, head) and _has(given, head)):
            own, given = ({k: v for k, v in state.items() if not k.startswith(head)} for state in (own, given))
    for name in [*own, *given]:
        # Files from before torch 0.4 have no such counts.
        if name.endswith("num_batches_tracked"):
            continue
        if name not in own or name not in given:
            owner = "the network has" if name in own else "the weights have"
            raise ValueError(f"the weights are not of this {type(network).__name__}'s variant: only {owner} {name}")
        if own[name].shape != given[name].shape:
            raise ValueError(
                f"the weights do not fit this {type(network).__name__}: {name} is {tuple(given[name].shape)} in the weights "
                f"and {tuple(own[name].shape)} in the network"
            )
    network.load_state_dict(given, strict=False)


def _has(state_dict: StateDict, head: str) -> bool:
    return any(name.startswith(head) for name in state_dict)


def _with_current_names(state_dict: StateDict) -> StateDict:
    # Old versions of torch allowed dots in names: denselayer1.norm.1 is now denselayer1.norm1.
    old = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=\d\.)")
    return {old.sub(r"\1", name): tensor for name, tensor in state_dict.items()}


def start_from(network: nn.Module, weights: Weights) -> Weights:
    """Loads weights into a network that may have other classes and other channels.

    Heads with another number of outputs keep their random weights. If only the network reads grey images, its first
    convolution gets the sum over the colours. If only the weights do, each colour gets a third of them.

    Returns:
        The weights without their tensors: with remarks on all changes, mean and standard deviation for the network's
        channels, and the class names if the head was loaded.

    Raises:
        ValueError: If the weights are of another architecture; names the first mismatch.
    """
    own, given = network.state_dict(), _with_current_names(weights.state_dict)
    if bad := next((name for name, tensor in given.items() if not _is_finite(tensor)), None):
        raise ValueError(f"{weights.source} holds values that are no numbers, in {bad}: name other weights")
    remarks: list[str] = []
    first = first_convolution(network)
    key = f"{first}.weight"
    if first is not None and key in given and given[key].ndim == 4:
        given_channels, own_channels = given[key].shape[1], own[key].shape[1]
        if (given_channels, own_channels) == (3, 1):
            given[key] = given[key].sum(dim=1, keepdim=True)
            remarks.append("first convolution summed over the colours, for grey images")
        elif (given_channels, own_channels) == (1, 3):
            given[key] = given[key].expand(-1, 3, -1, -1) / 3
            remarks.append("first convolution spread over the colours")
    replaced = None
    for head in head_names(network):
        keys = [name for name in (f"{head}.weight", f"{head}.bias") if name in own and name in given]
        if any(own[name].shape[0] != given[name].shape[0] for name in keys):
            # In the first head, only the number of outputs may differ: wrong inputs must still be an error.
            old = given[keys[0]].shape[0]
            given |= {name: own[name] for name in keys if replaced or own[name].shape[1:] == given[name].shape[1:]}
            replaced = replaced or f"new {head} for {own[keys[0]].shape[0]} classes instead of {old}"
    if replaced:
        remarks.append(replaced)
    if any(_has(own, head) and not _has(given, head) for head in AUXILIARY):
        remarks.append("new auxiliary heads")
    load_torchvision_weights(network, given)
    mean, std = weights.mean, weights.std
    if mean and std:
        channels = own[key].shape[1] if first is not None else len(mean)
        if len(mean) != channels:
            mean, std = ((sum(values) / len(values),) * channels for values in (mean, std))
    names = None if replaced else weights.class_names
    return replace(weights, state_dict={}, mean=mean, std=std, class_names=names, remarks=tuple(remarks))


def _is_finite(tensor: Tensor) -> bool:
    return tensor.is_meta or not tensor.is_floating_point() or bool(tensor.isfinite().all())
