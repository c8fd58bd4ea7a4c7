"""Measures of the features of a trained network for claims: how they are used, and how alike they are.

Images are as in :mod:`lit_cnn.claims.measures`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit_cnn.claims.measures import BATCH_SIZE, accuracy
from lit_cnn.layers import DenseBlock
from lit_cnn.network.base import evaluating
from lit_cnn.network.names import nearest

# A feature is constant if its spread is at most this share of its largest value: float32 is not exact.
ROUNDING = 1e-6


def use_of_earlier_features(network: nn.Module) -> dict[str, list[list[float]]]:
    """How much each layer of a dense block reads from each source.

    Source: Huang et al. 2017, arXiv:1608.06993, Fig. 5.

    Returns:
        By the name of the dense block, for each layer, for each source (the block's input, then the earlier layers): mean
        absolute weight of the layer's first convolution, divided by that of its most used source.

    Raises:
        ValueError: If the network has no dense block.
    """
    uses: dict[str, list[list[float]]] = {}
    for name, block in _dense_blocks(network).items():
        uses[name] = []
        for index, layer in enumerate(block):
            weight = layer.conv1.weight.detach().abs()
            means = [weight[:, _channels(block, source)].mean().item() for source in range(index + 1)]
            uses[name].append([mean / max(means) if max(means) else 0.0 for mean in means])
    return uses


def accuracy_without(
    network: nn.Module, images: Tensor, labels: Tensor, block: str, source: int, keep_next: bool = False
) -> float:
    """Accuracy if the later layers of a dense block read constants in place of one source; what follows the block reads it.

    Each channel of the source is replaced by its mean over the images of the batch and their positions. Zeros would be
    values that the layers' BatchNorm never saw in training: accuracy would fall because its input moved, not because
    information is missing.

    Args:
        network: Has dense blocks.
        images: Of any number.
        labels: Of the images.
        block: Name of the dense block, as in :func:`use_of_earlier_features`.
        source: 0 for the block's input, else the number of a layer. A later layer must miss it.
        keep_next: Whether the layer after the source still reads it, as it would in a network without dense connections.

    Raises:
        ValueError: If there is no such block or source.
    """
    blocks = _dense_blocks(network)
    if block not in blocks:
        raise ValueError(f"unknown dense block {block!r}; {nearest(block, blocks)}")
    layers = list(blocks[block])
    largest = len(layers) - (2 if keep_next else 1)
    if not 0 <= source <= largest:
        raise ValueError(f"source must be from 0 to {largest}, got {source}")
    channels = _channels(blocks[block], source)

    def remove(_: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        x = inputs[0].clone()
        x[:, channels] = x[:, channels].mean((0, 2, 3), keepdim=True)
        return x

    hooks = [layer.register_forward_pre_hook(remove) for layer in layers[source + keep_next :]]
    try:
        return accuracy(network, images, labels)
    finally:
        for hook in hooks:
            hook.remove()


def feature_correlation(network: nn.Module, images: Tensor) -> float:
    """Mean absolute correlation between the features that enter the last linear layer; lower is more diverse.

    It is over all pairs of features. Constant ones have no correlation and are left out.

    Source: Pearson's correlation; Cogswell et al. 2016, arXiv:1511.06068, measure redundant features by their covariance.

    Args:
        network: Has a linear layer.
        images: Of any number.

    Returns:
        A number from 0 to 1; NaN if fewer than two features vary.
    Raises:
        ValueError: If the network has no linear layer.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError(f"{type(network).__name__} has no linear layer, whose features could be compared")
    last: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        last[:] = [inputs[0].double()]  # of the layer that is called last

    hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
    batches = []
    try:
        with evaluating(network), torch.inference_mode():
            for batch in images.split(BATCH_SIZE):
                network(batch)
                batches += last
    finally:
        for hook in hooks:
            hook.remove()
    features = torch.cat(batches)  # (N, C)
    largest = features.abs().amax(dim=0)
    features = features[:, features.std(dim=0) > ROUNDING * largest]
    if features.shape[1] < 2:
        return float("nan")
    correlations = torch.corrcoef(features.T).abs()  # (C, C)
    return ((correlations.sum() - correlations.trace()) / (correlations.numel() - len(correlations))).item()


def _dense_blocks(network: nn.Module) -> dict[str, DenseBlock]:
    blocks = {name: module for name, module in network.named_modules() if isinstance(module, DenseBlock)}
    if not blocks:
        raise ValueError(f"{type(network).__name__} has no dense block; take a DenseNet")
    return blocks


def _channels(block: DenseBlock, source: int) -> slice:
    """Which input channels of a block's layers come from a source; 0 is the block's input."""
    layers = list(block)
    in_channels = layers[0].conv1.in_channels
    growth_rate = (block.out_channels - in_channels) // len(layers)
    end = in_channels + source * growth_rate
    return slice(end - growth_rate if source else 0, end)
