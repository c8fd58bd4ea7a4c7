"""What a trained network sees in images: a heat map for each, by any method, on the image as it was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.inference.explain import attribution, class_activation
from lit_cnn.inference.explain.places import WITHOUT_MAPS, Place, Survey, survey
from lit_cnn.inference.trained import Trained
from lit_cnn.network.base import evaluating
from lit_cnn.system.extras import require_extra

Method: TypeAlias = Literal["cam", "gradcam", "layercam", "occlusion", "ig"]
METHODS: tuple[Method, ...] = get_args(Method)
# Those that captum computes, and those whose maps come from a layer.
CAPTUM = ("occlusion", "ig")
OF_A_LAYER = ("gradcam", "layercam")
# Of gradients by pixel, so large a share of the values is not cut off: a few pixels would leave all others dark.
KEPT_SHARE = 0.99


@dataclass(frozen=True, eq=False)
class Explanation:
    """What speaks for a class in images.

    Args:
        method: How it was computed.
        layer: The feature maps that it was computed from; empty if it was not.
        targets: Number of the class of each image, (N,).
        values: float32 (N, h, w): what speaks for the class, and below 0 against it. Of ``cam``, the values of an image sum
            to the logit without its bias; of ``ig``, to the difference of the logit to that of the mean colour.
        heat: float32 (N, H, W) from 0 to 1, at the size of the images that were given; what speaks against is 0.
    """

    method: Method
    layer: str
    targets: np.ndarray
    values: np.ndarray
    heat: np.ndarray


def heat_map(trained: Trained, image: Tensor, target: int | None = None) -> np.ndarray:
    """Which places of an image speak for a class.

    The map is exact (CAM) where the network allows it. Else it is a LayerCAM of the last feature maps.

    Args:
        trained: The network, see :func:`lit_cnn.inference.loading.load_run`.
        image: uint8 (channels, native_size, native_size), as ``trained.reading`` reads it.
        target: Number of the class; the likeliest if not given.

    Shape:
        Output float32 (H, W) from 0 to 1, of the size of the image.

    Raises:
        ValueError: If the network has no such class, or no feature map of several cells.
    """
    targets = None if target is None else torch.tensor([target])
    return explain(trained, image[None], targets=targets).heat[0]


def explain(
    trained: Trained,
    images: Tensor,
    method: Method | None = None,
    targets: Tensor | None = None,
    layer: str | None = None,
) -> Explanation:
    """What speaks for a class in each of some images.

    Args:
        trained: The network, see :func:`lit_cnn.inference.loading.load_run`.
        images: uint8 (N, channels, native_size, native_size), as ``trained.reading`` reads them.
        method: ``cam``, ``gradcam``, ``layercam``, ``occlusion`` or ``ig``; ``cam`` where it exists and no layer is named,
            else ``layercam``, if not given.
        targets: Number of the class of each, (N,); the likeliest if not given.
        layer: The feature maps for ``gradcam`` and ``layercam``; the last if not given.

    Raises:
        ValueError: If the method, the class or the layer does not exist, if the network does not allow the method, or if
            captum is missing.
    """
    if method is not None and method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if method in CAPTUM:
        require_extra("explain", f"method {method}")
    batch, network = trained.preprocess(images), trained.network
    found = survey(network, batch[:1])
    if method is None:
        method = "layercam" if found.head is None or layer is not None else "cam"
    if layer is not None and method not in OF_A_LAYER:
        raise ValueError(f"{method} has no choice of layer: leave layer out, or take {' or '.join(OF_A_LAYER)}")
    if targets is None:
        targets = likeliest(trained, batch)
    num_classes = len(trained.class_names)
    if not all(0 <= target < num_classes for target in targets.tolist()):
        raise ValueError(f"target must be from 0 to {num_classes - 1}, got {targets.tolist()}")
    targets = targets.to(batch.device)
    values, name = _compute(trained, batch, method, targets, found, layer)
    # Scaled last: the mean over several pixels is less than the largest of them.
    heat = _scale(place_on_images(values.float().clamp(min=0).cpu(), trained.preprocessing, images.shape[-1]), method)
    return Explanation(method, name, targets.numpy(force=True), values.numpy(force=True), heat.numpy(force=True))


def likeliest(trained: Trained, batch: Tensor) -> Tensor:
    """The most probable class of each image of the network's size, (N,)."""
    with torch.no_grad(), evaluating(trained.network):
        classes: Tensor = trained.network(batch).argmax(dim=1)
    return classes


def _compute(
    trained: Trained, batch: Tensor, method: Method, targets: Tensor, found: Survey, layer: str | None
) -> tuple[Tensor, str]:
    """Values (N, h, w), and the name of the layer that they come from."""
    network = trained.network
    if method == "occlusion":
        return attribution.occlusion(network, batch, targets), ""
    if method == "ig":
        return attribution.integrated_gradients(network, batch, targets), ""
    if method == "cam":
        if found.head is None:
            remedy = WITHOUT_MAPS if found.last is None else "take gradcam or layercam"
            raise ValueError(
                f"cam needs a network that ends in an average over maps of several cells and one linear layer; "
                f"{found.network} does not on these images: {remedy}"
            )
        return class_activation.exact_cam(network, batch, targets, found.head), found.head.maps.name
    place: Place = found.find(layer)
    compute = class_activation.grad_cam if method == "gradcam" else class_activation.layer_cam
    return compute(network, batch, targets, place), place.name


def _scale(heat: Tensor, method: Method) -> Tensor:
    """What speaks for the class on a scale of 0 to 1, by image."""
    flat = heat.flatten(1)
    peak = flat.amax(dim=1)
    if method == "ig":
        kept = flat.quantile(KEPT_SHARE, dim=1)
        peak = torch.where(kept > 0, kept, peak)
    return (heat / peak.clamp(min=torch.finfo(torch.float32).tiny).view(-1, 1, 1)).clamp(max=1)


def place_on_images(maps: Tensor, preprocessing: Preprocessing, size: int) -> Tensor:
    """Maps of what a network sees, on the images before :class:`~lit_cnn.data.preprocess.Preprocessing`.

    What preprocessing cuts off is 0. Where several cells lie on a pixel, it gets their weighted mean: none is left out.

    Args:
        maps: (N, h, w), of any size.
        preprocessing: Of the network.
        size: Height and width of the images, in pixels.

    Shape:
        Output (N, size, size).
    """
    seen = preprocessing.image_size
    enlarged = F.interpolate(maps[:, None], (seen, seen), mode="bilinear")
    whole = preprocessing.resize_size or seen
    start = round((whole - seen) / 2)
    rest = whole - seen - start
    enlarged = F.pad(enlarged, (start, rest, start, rest))
    if whole != size:
        enlarged = F.interpolate(enlarged, (size, size), mode="bilinear", antialias=whole > size)
    return enlarged[:, 0]
