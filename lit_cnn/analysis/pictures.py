"""The images that a report shows: the worst, the most uncertain, and what the network sees in some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lit_cnn.analysis.page import EXACT_SIZE, picture
from lit_cnn.data.frame import start_of_centre
from lit_cnn.data.loader import Images
from lit_cnn.inference.explain.class_activation import ClassActivation, class_activation
from lit_cnn.runs.predictions import RunPredictions

HEAT = (230, 75, 20)
HEATED_SIZE = 112  # pixels to which small images are enlarged below a map
OPACITY = 0.75  # of the place that speaks most for the class
NUM_MAPPED = 4  # mistakes, and as many right answers


@dataclass(frozen=True)
class Shown:
    """An image in a report.

    Args:
        file: Name of its file, or its number.
        source: Address that holds it.
        is_exact: Whether it has all its pixels.
        label: Its class.
        predicted: The class that it was taken for.
        probability: Of that class.
        of_label: Probability of its own class.
    """

    file: str
    source: str
    is_exact: bool
    label: str
    predicted: str
    probability: float
    of_label: float

    @property
    def is_right(self) -> bool:
        return self.label == self.predicted


@dataclass(frozen=True)
class Mapped:
    """An image with the places that speak for a class: for the predicted one, and for its own if that is another."""

    shown: Shown
    maps: tuple[tuple[str, str], ...]  # class and address of the picture


@dataclass(frozen=True)
class Maps:
    """Images with maps, and how these were made."""

    images: tuple[Mapped, ...]
    is_exact: bool
    layer: str
    cells: tuple[int, int]


def worst(predictions: RunPredictions, number: int) -> np.ndarray:
    """Positions of the images with the highest loss, the highest first."""
    of_label = predictions.probabilities[np.arange(len(predictions)), predictions.labels]
    return np.argsort(of_label, kind="stable")[:number]


def most_uncertain(predictions: RunPredictions, number: int) -> np.ndarray:
    """Positions of the images whose two likeliest classes are closest in probability, the closest first."""
    if predictions.logits.shape[1] < 2:
        return np.arange(0)
    two = np.sort(predictions.probabilities, axis=1)[:, -2:]
    return np.argsort(two[:, 1] - two[:, 0], kind="stable")[:number]


def surest(predictions: RunPredictions, number: int) -> np.ndarray:
    """Positions of right answers, the surest of each class, the surest classes first."""
    confidences = np.where(predictions.correct, predictions.probabilities.max(axis=1), -1.0)
    best = [
        int(np.argmax(np.where(predictions.labels == label, confidences, -1.0))) for label in np.unique(predictions.labels)
    ]
    best = [position for position in best if predictions.correct[position]]
    return np.array(sorted(best, key=lambda position: -confidences[position])[:number], dtype=np.int64)


def show(predictions: RunPredictions, images: Images, positions: Sequence[int] | np.ndarray) -> list[Shown]:
    """The images at some positions, as a page shows them."""
    return [_show(predictions, images, position) for position in map(int, positions)]


def _show(predictions: RunPredictions, images: Images, position: int) -> Shown:
    pixels, names = pixels_at(images, position), predictions.class_names
    label, predicted = int(predictions.labels[position]), int(predictions.predicted[position])
    probabilities = predictions.probabilities[position]
    return Shown(
        PurePath(predictions.images[position]).name,
        picture(pixels),
        max(pixels.shape[:2]) <= EXACT_SIZE,
        names[label],
        names[predicted],
        float(probabilities[predicted]),
        float(probabilities[label]),
    )


def pixels_at(images: Images, position: int) -> np.ndarray:
    """An image as uint8 (H, W) or (H, W, 3)."""
    pixels = images.fetch(torch.tensor([position]))[0].cpu().permute(1, 2, 0).numpy()
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def map_classes(
    network: nn.Module,
    preprocess: Callable[[Tensor], Tensor],
    predictions: RunPredictions,
    images: Images,
    centre: int | None = None,
) -> Maps:
    """What a network sees in its worst mistakes and in its surest right answers.

    Args:
        network: From images to logits.
        preprocess: From uint8 images to the network's.
        predictions: Its answers.
        images: The images of the predictions.
        centre: Height and width of their centre that the network sees; all of them if not given.

    Raises:
        ValueError: If the network has no feature maps, or there are no images.
    """
    mistakes = [position for position in worst(predictions, NUM_MAPPED) if not predictions.correct[position]]
    found: ClassActivation | None = None
    mapped = []
    for position in [*mistakes, *surest(predictions, NUM_MAPPED)]:
        batch = images.fetch(torch.tensor([int(position)]))
        image = preprocess(batch)[0]
        pixels = pixels_at(images, int(position))
        if centre is not None:
            start = start_of_centre(len(pixels), centre)
            pixels = pixels[start : start + centre, start : start + centre]
        classes = dict.fromkeys((int(predictions.predicted[position]), int(predictions.labels[position])))
        maps = []
        for label in classes:
            found = class_activation(network, image, label)
            maps.append((predictions.class_names[label], picture(_heated(pixels, found.values))))
        mapped.append(Mapped(_show(predictions, images, int(position)), tuple(maps)))
    if found is None:
        raise ValueError("there is no image")
    height, width = found.values.shape
    return Maps(tuple(mapped), found.is_exact, found.layer, (height, width))


def _heated(pixels: np.ndarray, values: Tensor) -> np.ndarray:
    """An image below a map of what speaks for a class, uint8 (H, W, 3)."""
    image = Image.fromarray(pixels).convert("RGB")
    if max(image.size) < HEATED_SIZE:
        scale = -(-HEATED_SIZE // max(image.size))
        image = image.resize((scale * image.width, scale * image.height), Image.Resampling.NEAREST)
    heat = values.cpu().clamp(min=0).numpy().astype(np.float32)
    opacity = Image.fromarray(heat / max(float(heat.max()), 1e-12)).resize(image.size, Image.Resampling.BILINEAR)
    share = OPACITY * np.asarray(opacity)[..., None]
    return ((1 - share) * np.asarray(image) + share * np.array(HEAT)).round().clip(0, 255).astype(np.uint8)
