"""What a study measures: of a trained cell, of an arm, and of a sweep over learning rates.

Accuracies and their differences are in percentage points.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lit_cnn.claims import curves, features, measures
from lit_cnn.claims.design import OF_ARMS, OF_SWEEPS, STEPS, Study
from lit_cnn.claims.training import Trained
from lit_cnn.data.splits import Split
from lit_cnn.layers import DenseBlock
from lit_cnn.network.counting import count_multiply_adds, count_parameters
from lit_cnn.network.names import nearest
from lit_cnn.network.signs import activation_statistics
from lit_cnn.network.sizes import takes

# For training accuracy and loss, so many training images are enough.
MAX_TRAINING_IMAGES = 5000


def _images(trained: Trained, split: Split) -> tuple[Tensor, Tensor]:
    if split not in trained.images:
        trained.images[split] = trained.data.normalised(split, MAX_TRAINING_IMAGES if split == "train" else None)
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


def steps_to_error(trained: Trained, error: float, window: int = curves.WINDOW) -> float:
    """Steps until the training error, a mean over ``window`` steps, is below ``error``, a share.

    If it never is, the planned number of steps: a lower bound. At least ``window``: then it may have been so before.
    """
    steps = curves.steps_to(trained.history.errors, error, window)
    return float(trained.history.planned if steps is None else steps)


def steps_to_leave_chance(trained: Trained, share: float = 0.9, window: int = curves.WINDOW) -> float:
    """Steps until the training loss, a mean over ``window`` steps, is below ``share`` of ln(classes).

    If it never is, the planned number of steps: a lower bound. At least ``window``: then it may have been so before.
    """
    chance = math.log(trained.data.num_classes)
    steps = curves.steps_to(trained.history.losses, share * chance, window)
    return float(trained.history.planned if steps is None else steps)


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


def takes_size(trained: Trained, size: int) -> float:
    """1 if the network takes images of this size, else 0."""
    return float(takes(trained.model.network, trained.data.channels, size))


def accuracy_lost_by_noise(trained: Trained, sd: float) -> float:
    """Test accuracy less that under Gaussian noise of standard deviation ``sd`` on normalised pixels."""
    noisy = measures.accuracy_under_noise(trained.model, *_images(trained, "test"), sd, seed=trained.seed)
    return accuracy(trained) - 100 * noisy


def gradient_ratio(trained: Trained, when: str = "start", batch: int = 128) -> float:
    """RMS of the gradient of the first convolution over that of the last one, at the ``start`` or the ``end``."""
    network = (trained.at_start() if when == "start" else trained.model).network
    first, *_, last = _convolutions(network)
    images, labels = _images(trained, "train")
    return measures.gradient_ratio(network, images[:batch], labels[:batch], first, last)


def activation_decay(trained: Trained, batch: int = 128) -> float:
    """Standard deviation of the last convolution's output over that of the first one, before the first step."""
    network = trained.at_start().network
    statistics = activation_statistics(network, _images(trained, "train")[0][:batch])
    first, *_, last = _convolutions(network)
    return statistics[last].sd / statistics[first].sd


def _convolutions(network: nn.Module) -> list[str]:
    """Names of the convolutions in the order of the network, without those of shortcuts."""
    modules = network.named_modules()
    return [name for name, module in modules if isinstance(module, nn.Conv2d) and ".shortcut" not in name]


def use_of_distant_features(trained: Trained) -> float:
    """How much more the last layer of a dense block weighs the block's input after training than before, as a ratio.

    The weight is the mean absolute one of the input's channels over that of the channels of the layer before.
    """

    def weigh(network: nn.Module) -> float:
        uses = features.use_of_earlier_features(network).values()
        ratios = [rows[-1][0] / rows[-1][-1] for rows in uses if rows[-1][-1]]
        return sum(ratios) / len(ratios)

    return weigh(trained.model.network) / weigh(trained.at_start().network)


def accuracy_lost_without(trained: Trained, block: int, source: int) -> float:
    """Test accuracy less that with a source's features replaced by their means for the block's later layers but the next.

    Args:
        trained: A cell.
        block: Number of the dense block, from 0.
        source: 0 for the block's input, else the number of a layer.
    """
    network = trained.model.network
    names = [name for name, module in network.named_modules() if isinstance(module, DenseBlock)]
    images, labels = _images(trained, "test")
    without = features.accuracy_without(network, images, labels, names[block], source, keep_next=True)
    return accuracy(trained) - 100 * without


def feature_correlation(trained: Trained) -> float:
    """Mean absolute correlation, over test images, between the features that enter the last linear layer."""
    return features.feature_correlation(trained.model.network, _images(trained, "test")[0])


OF_CELLS: Mapping[str, Callable[..., float | None]] = {
    function.__name__: function
    for function in (
        *(accuracy, loss, gap, steps_to_error, steps_to_leave_chance, accuracy_lost_by_shifts, accuracy_at_size, takes_size),
        *(accuracy_lost_by_noise, gradient_ratio, activation_decay, use_of_distant_features, accuracy_lost_without),
        feature_correlation,
    )
}


def check_measures(study: Study) -> None:
    """Checks that the measures of a study exist and take their arguments.

    Raises:
        ValueError: If one does not; names its key.
    """
    for name, description in study.measures.items():
        arguments = dict(description)
        kind = arguments.pop("measure")
        if kind in OF_CELLS:
            try:
                inspect.signature(OF_CELLS[kind]).bind(None, **arguments)
            except TypeError as error:
                raise ValueError(f"measures.{name}: {kind}: {error}") from error
        elif kind in OF_SWEEPS:
            if arguments.keys() != {"of"} or arguments["of"] not in study.measures or not study.sweep:
                raise ValueError(f"measures.{name}: {kind} needs of, the name of a measure, and sweep: true")
        elif kind not in OF_ARMS:
            raise ValueError(
                f"measures.{name}: there is no measure {kind}; {nearest(kind, [*OF_CELLS, *OF_ARMS, *OF_SWEEPS])}"
            )
        elif arguments:
            raise ValueError(f"measures.{name}: {kind} takes no {min(arguments)}")


def measure_cell(trained: Trained, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """The measures of a cell by name.

    A diverged cell has none of its weights, but those of its history. A cell that did not reach the loss at which arms are
    compared has none at all.
    """
    values: dict[str, float | None] = {}
    for name, description in wanted.items():
        arguments = dict(description)
        kind = arguments.pop("measure")
        if kind not in OF_CELLS:
            continue
        if not trained.reached or (trained.diverged and not kind.startswith(STEPS)):
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
        rounds = measures.images_per_s(list(networks.values()), next(iter(images.values())))
        for name, speeds in zip(networks, rounds, strict=True):
            values[name]["images_per_s"] = [round(speed, 1) for speed in speeds]
    return values
