"""Features of images: what a trained network computes before its last layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lit_cnn.inference.batches import BadImage, Readable, ReadBatch, compute_batches
from lit_cnn.network.base import evaluating
from lit_cnn.network.parts import head_names

Item = TypeVar("Item")


def embed(
    network: nn.Module,
    preprocess: Callable[[Tensor], Tensor],
    images: Readable[Item],
    batch_size: int = 64,
    num_workers: int | None = None,
) -> Iterator[list[tuple[Item, np.ndarray | BadImage]]]:
    """Computes features one batch after another, in the order of the images.

    Args:
        network: Has a layer that outputs the classes, see :func:`lit_cnn.network.parts.head_names`.
        preprocess: From uint8 images to the network's.
        images: Of the size and the channels that ``preprocess`` takes.
        batch_size: Images at a time.
        num_workers: Threads that read images; as many as there are processors if not given.

    Returns:
        What names each image of a batch, with its features, a float32 array (D,).

    Raises:
        ValueError: If the batch size is below 1, or a file cannot be decoded and is not to be skipped; names the file.
    """

    def compute(batch: ReadBatch[Item]) -> np.ndarray:
        with torch.inference_mode(), evaluating(network):
            return features_of(network, preprocess(batch.pixels)).numpy(force=True)

    return compute_batches(images, batch_size, compute, num_workers)


def features_of(network: nn.Module, images: Tensor) -> Tensor:
    """The input of the layer that outputs the classes, for preprocessed images.

    If that layer is a convolution, as in NiN, the mean over all positions.

    Shape:
        Input (N, channels, H, W); output float32 (N, D).
    """
    seen: list[Tensor] = []
    head = network.get_submodule(head_names(network)[0])
    handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        network(images)
    finally:
        handle.remove()
    (features,) = seen
    return features.float().flatten(2).mean(dim=2) if features.ndim > 2 else features.float()
