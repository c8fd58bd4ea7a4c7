"""The feature maps of a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lit_cnn.inference.explain.places import kept, survey
from lit_cnn.inference.explain.receptive_field import ReceptiveField, receptive_field
from lit_cnn.inference.trained import Trained
from lit_cnn.network.base import evaluating


@dataclass(frozen=True, eq=False)
class Features:
    """The feature maps of a layer.

    Args:
        layer: Its name.
        values: float32 (N, channels, h, w).
    """

    layer: str
    values: np.ndarray

    def strongest(self, image: int, number: int) -> np.ndarray:
        """The channels with the highest values in an image, the highest first."""
        peaks = self.values[image].max(axis=(1, 2))
        return np.argsort(-peaks, kind="stable")[:number]


def features(trained: Trained, images: Tensor, layer: str | None = None) -> Features:
    """The feature maps that a layer gives for images.

    Args:
        trained: The network, see :func:`lit_cnn.inference.loading.load_run`.
        images: uint8 (N, channels, native_size, native_size), as ``trained.reading`` reads them.
        layer: Name of the layer; the last with feature maps of several cells if not given.

    Raises:
        ValueError: If there is no such layer; suggests similar ones.
    """
    batch = trained.preprocess(images)
    place = survey(trained.network, batch[:1]).find(layer)
    with torch.no_grad(), evaluating(trained.network), kept(trained.network, place) as found:
        trained.network(batch)
    return Features(place.name, found[0].float().numpy(force=True))


@dataclass(frozen=True)
class LayerField:
    """What the cells of a layer see.

    Args:
        layer: Its name.
        cells: Rows and columns of its maps.
        image_size: Height and width of the images that the network sees, in pixels.
        field: In pixels of these images.
    """

    layer: str
    cells: tuple[int, int]
    image_size: int
    field: ReceptiveField


def field_of(trained: Trained, layer: str | None = None) -> LayerField:
    """The receptive field of a layer, for images of the size that the network was trained on.

    Args:
        trained: The network, see :func:`lit_cnn.inference.loading.load_run`.
        layer: Name of the layer; the last with feature maps of several cells if not given.

    Raises:
        ValueError: If there is no such layer, or its cells are not regular.
    """
    size = trained.preprocessing.image_size
    image = torch.zeros(1, trained.channels, size, size, device=trained.device)
    place = survey(trained.network, image).find(layer)
    field = receptive_field(trained.network, image, place)
    return LayerField(place.name, place.shape[1:], size, field)
