"""Measures of a trained network for claims: accuracy under changes, speed, memory, gradients.

Images are normalised float tensors (N, C, H, W) on the processor, labels (N,). A measure changes neither the network nor
the state of the random numbers. Parameters and multiply-adds: :mod:`lit_cnn.network.counting`; measures of whole trainings:
:mod:`lit_cnn.claims.curves`; measures of features: :mod:`lit_cnn.claims.features`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_cnn.network.base import evaluating
from lit_cnn.network.signs import gradient_rms
from lit_cnn.network.sizes import takes

BATCH_SIZE = 500


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images whose largest logit is that of the label."""
    return _accuracy(network, images, labels, lambda batch: batch)


def cross_entropy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy in evaluation mode, in nats."""
    return F.cross_entropy(_logits(network, images, lambda batch: batch), labels).item()


def accuracy_when_shifted(
    network: nn.Module, images: Tensor, labels: Tensor, pixels: int = 4, fill: float | Sequence[float] | None = None
) -> float:
    """Mean accuracy over the eight shifts of the images by ``pixels``: along rows, along columns and along both.

    Args:
        network: Takes the images.
        images: Whatever leaves the frame is cut off.
        labels: Of the images.
        pixels: How far, from 1 to the smaller side less 1.
        fill: Value of the free border, for all channels or for each; by default each channel's smallest value, black.

    Raises:
        ValueError: If ``pixels`` is out of its range.
    """
    height, width = images.shape[2:]
    if not 1 <= pixels < min(height, width):
        raise ValueError(f"pixels must be from 1 to {min(height, width) - 1}, got {pixels}")
    background = (images.amin((0, 2, 3)) if fill is None else torch.as_tensor(fill, dtype=images.dtype)).view(-1, 1, 1)

    def kept(shift: int, size: int) -> slice:
        return slice(max(shift, 0), size + min(shift, 0))

    def move(batch: Tensor, rows: int, columns: int) -> Tensor:
        moved = torch.empty_like(batch).copy_(background)
        moved[..., kept(rows, height), kept(columns, width)] = batch[..., kept(-rows, height), kept(-columns, width)]
        return moved

    steps = (-pixels, 0, pixels)
    shifts = [(rows, columns) for rows in steps for columns in steps if rows or columns]
    shares = [_accuracy(network, images, labels, partial(move, rows=rows, columns=columns)) for rows, columns in shifts]
    return sum(shares) / len(shares)


def accuracy_at_size(network: nn.Module, images: Tensor, labels: Tensor, size: int) -> float | None:
    """Accuracy on images that are resized as those of the data are; None if the network does not take the size."""
    if not takes(network, images.shape[1], size):
        return None
    shrinks = images.shape[-1] > size

    def resize(batch: Tensor) -> Tensor:
        return F.interpolate(batch, (size, size), mode="bilinear", antialias=shrinks)

    return _accuracy(network, images, labels, resize if images.shape[-2:] != (size, size) else lambda batch: batch)


def accuracy_under_noise(network: nn.Module, images: Tensor, labels: Tensor, sd: float, seed: int = 0) -> float:
    """Accuracy on images with Gaussian noise, the same for all networks.

    Args:
        network: Takes the images.
        images: Without noise.
        labels: Of the images.
        sd: Standard deviation on each pixel and channel, in units of the normalised images.
        seed: Of the noise.
    """
    generator = torch.Generator().manual_seed(seed)

    def disturb(batch: Tensor) -> Tensor:
        return batch + sd * torch.randn(batch.shape, dtype=batch.dtype, generator=generator)

    return _accuracy(network, images, labels, disturb)


def images_per_s(
    networks: Sequence[nn.Module], images: Tensor, training: bool = True, rounds: int = 5, seconds: float = 1.0
) -> list[list[float]]:
    """Speed of networks that take turns, so that whatever else the machine does slows all alike.

    Args:
        networks: Copies of them are measured.
        images: The batch of each step.
        training: Whether a step is a forward and a backward pass, without the optimiser; otherwise a forward pass.
        rounds: How often each network has its turn.
        seconds: Length of a turn, after a step that is not counted.

    Returns:
        Images per second of each network, one value for each round.
    """
    copies = [copy.deepcopy(network).train(training) for network in networks]
    labels = torch.zeros(len(images), dtype=torch.long)

    def step(network: nn.Module) -> None:
        if training:
            network.zero_grad()
            F.cross_entropy(network(images), labels).backward()
        else:
            network(images)

    speeds: list[list[float]] = [[] for _ in copies]
    with torch.random.fork_rng(devices=[]), torch.inference_mode(not training):
        for _ in range(rounds):
            for network, measured in zip(copies, speeds, strict=True):
                step(network)
                start, steps, passed = time.perf_counter(), 0, 0.0
                while not steps or passed < seconds:
                    step(network)
                    steps += 1
                    passed = time.perf_counter() - start
                measured.append(steps * len(images) / passed)
    return speeds


def peak_memory(network: nn.Module, images: Tensor) -> int:
    """Bytes that a training step keeps from its forward pass for its backward pass, each storage once.

    That is what grows with the batch: activations and other intermediate results. Parameters, gradients, the optimiser and
    the working memory of single operations are not counted.
    """
    network = copy.deepcopy(network).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict(keep_vars=True).values()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    # The graph that hangs on the output keeps the storages alive: no address comes twice.
    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network(images)
    del output
    return sum(kept.values())


def gradient_ratio(network: nn.Module, images: Tensor, labels: Tensor, first: str, last: str) -> float:
    """Root mean square of the loss gradient of the first layer's weight, divided by that of the last one's.

    Args:
        network: A copy of it makes one pass in training mode.
        images: One batch.
        labels: Of the images.
        first: Name of the first layer.
        last: Name of the last layer.

    Returns:
        The ratio; infinite if the last layer's gradient is zero, NaN if both are.
    Raises:
        ValueError: If a layer has no gradient.
    """
    network = copy.deepcopy(network).train()
    network.zero_grad()
    with torch.random.fork_rng(devices=[]):
        F.cross_entropy(network(images), labels).backward()
    rms = gradient_rms(network)
    for name in (first, last):
        if name not in rms:
            layers = list(rms) or ["none"]
            raise ValueError(f"layer {name!r} has no gradient; the first that has one is {layers[0]}, the last {layers[-1]}")
    if not rms[last]:
        return math.inf if rms[first] else math.nan
    return rms[first] / rms[last]


def _logits(network: nn.Module, images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    with evaluating(network), torch.inference_mode():
        return torch.cat([network(change(batch)) for batch in images.split(BATCH_SIZE)])


def _accuracy(network: nn.Module, images: Tensor, labels: Tensor, change: Callable[[Tensor], Tensor]) -> float:
    return (_logits(network, images, change).argmax(dim=1) == labels).double().mean().item()
