"""What a study measures: of a trained cell, of an arm, and of a sweep over learning rates.

Accuracies and their differences are in percentage points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lit_cnn.claims import measures
from lit_cnn.claims.training import Trained
from lit_cnn.data.splits import Split
from lit_cnn.network.counting import count_multiply_adds, count_parameters

# For training accuracy and loss, so many training images are enough.
MAX_TRAINING_IMAGES = 5000
# A rate is stable if the accuracy after it is at least this far above chance, in points.
ABOVE_CHANCE = 10.0


def _images(trained: Trained, split: Split) -> tuple[Tensor, Tensor]:
    if split not in trained.images:
        images, labels = trained.data.normalised(split)
        limit = MAX_TRAINING_IMAGES if split == "train" else len(labels)
        trained.images[split] = images[:limit], labels[:limit]
    return trained.images[split]


def accuracy(trained: Trained, split: Split = "test") -> float:
    """Share of the images of a split that are recognised, after the last step."""
    return 100 * measures.accuracy(trained.model, *_images(trained, split))


def loss(trained: Trained, split: Split = "train") -> float:
    """Mean cross-entropy over the images of a split, after the last step."""
    return measures.cross_entropy(trained.model, *_images(trained, split))


def gap(trained: Trained) -> float:
    """Training accuracy less test accuracy, both in evaluation mode without augmentation."""
    return accuracy(trained, "train") - accuracy(trained, "test")


def steps_to_error(trained: Trained, error: float, window: int = 20) -> float:
    """Steps until the training error, a mean over ``window`` steps, is below ``error``, a share.

    If it never is, the number of all steps: a lower bound.
    """
    steps = measures.steps_to(trained.history.errors, error, window)
    return float(len(trained.history.errors) if steps is None else steps)


def steps_to_leave_chance(trained: Trained, share: float = 0.9, window: int = 20) -> float:
    """Steps until the training loss, a mean over ``window`` steps, is below ``share`` of ln(classes); else all steps."""
    chance = math.log(trained.data.num_classes)
    steps = measures.steps_to(trained.history.losses, share * chance, window)
    return float(len(trained.history.losses) if steps is None else steps)


def accuracy_lost_by_shifts(trained: Trained, pixels: int = 4) -> float:
    """Test accuracy less the mean test accuracy of images that are shifted by ``pixels``."""
    images, labels = _images(trained, "test")
    black = trained.data.preprocessing(torch.zeros(1, trained.data.channels, 1, 1, dtype=torch.uint8).expand(-1, -1, 8, 8))
    shifted = measures.accuracy_when_shifted(trained.model, images, labels, pixels, fill=black[0, :, 0, 0])
    return accuracy(trained) - 100 * shifted


def accuracy_at_size(trained: Trained, size: int) -> float | None:
    """Test accuracy on images resized to ``size``; None if the network does not take them."""
    share = measures.accuracy_at_size(trained.model, *_images(trained, "test"), size)
    return None if share is None else 100 * share


def accuracy_lost_by_noise(trained: Trained, sd: float) -> float:
    """Test accuracy less that under Gaussian noise of standard deviation ``sd`` on normalised pixels."""
    noisy = measures.accuracy_under_noise(trained.model, *_images(trained, "test"), sd, seed=trained.seed)
    return accuracy(trained) - 100 * noisy


def gradient_ratio(trained: Trained, when: str = "start", batch: int = 128) -> float:
    """RMS of the gradient of the first convolution over that of the last one, at the ``start`` or the ``end``."""
    model = trained.at_start() if when == "start" else trained.model
    names = [name for name, module in model.network.named_modules() if isinstance(module, nn.Conv2d)]
    images, labels = _images(trained, "train")
    return measures.gradient_ratio(model.network, images[:batch], labels[:batch], names[0], names[-1])


def activation_decay(trained: Trained, batch: int = 128) -> float:
    """Standard deviation of the last convolution's output over that of the first one, before the first step."""
    images, _ = _images(trained, "train")
    values: list[float] = []
    model = trained.at_start()
    hooks = [
        module.register_forward_hook(lambda _, __, output: values.append(float(output.std())))
        for module in model.network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        model.network(images[:batch])
    for hook in hooks:
        hook.remove()
    return values[-1] / values[0]


def use_of_distant_features(trained: Trained) -> float:
    """Mean absolute weight that the last layer of each dense block gives to the block's input, over that to the layer before."""
    ratios = []
    for rows in measures.use_of_earlier_features(trained.model.network).values():
        last = rows[-1]
        ratios.append(last[0] / last[-1])
    return sum(ratios) / len(ratios)


def accuracy_lost_without(trained: Trained, block: str, source: int) -> float:
    """Test accuracy less that with the features of an early source zeroed for all later layers of a dense block."""
    images, labels = _images(trained, "test")
    return accuracy(trained) - 100 * measures.accuracy_without(trained.model.network, images, labels, block, source)


OF_CELLS: Mapping[str, Callable[..., float | None]] = {
    function.__name__: function
    for function in (
        *(accuracy, loss, gap, steps_to_error, steps_to_leave_chance, accuracy_lost_by_shifts, accuracy_at_size),
        *(accuracy_lost_by_noise, gradient_ratio, activation_decay, use_of_distant_features, accuracy_lost_without),
    )
}
# Measured once for all arms: each gives a value, or a list of values of several rounds, for each arm.
OF_ARMS = ("parameters", "multiply_adds", "memory", "images_per_s")
OF_SWEEPS = ("largest_stable_rate",)


def measure_cell(trained: Trained, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """The measures of a cell by name; a diverged cell has none of its weights, but those of its history."""
    values: dict[str, float | None] = {}
    for name, description in wanted.items():
        arguments = dict(description)
        kind = arguments.pop("measure")
        if kind not in OF_CELLS:
            continue
        if trained.diverged and not kind.startswith("steps_"):
            values[name] = None
            continue
        value = OF_CELLS[kind](trained, **arguments)
        values[name] = None if value is None or not math.isfinite(value) else round(value, 6)
    return values


def measure_arms(
    networks: Mapping[str, nn.Module], images: Mapping[str, Tensor], wanted: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Sizes, costs and speeds of the networks of all arms, which are timed in turn."""
    values: dict[str, dict[str, Any]] = {name: {} for name in networks}
    for name, network in networks.items():
        values[name]["parameters"] = count_parameters(network)
        values[name]["multiply_adds"] = count_multiply_adds(network, images[name][:1])
        if "memory" in wanted:
            values[name]["memory"] = measures.peak_memory(network, images[name])
    if "images_per_s" in wanted:
        (size,) = {tuple(batch.shape) for batch in images.values()}
        assert size
        rounds = measures.images_per_s(list(networks.values()), next(iter(images.values())))
        for name, speeds in zip(networks, rounds, strict=True):
            values[name]["images_per_s"] = [round(speed, 1) for speed in speeds]
    return values


def measure_sweep(accuracies: Mapping[float, float | None], num_classes: int) -> float | None:
    """Largest rate of a grid with which, as with all lower ones, the network learned."""
    return measures.largest_stable_rate(accuracies, 100 / num_classes, ABOVE_CHANCE)
