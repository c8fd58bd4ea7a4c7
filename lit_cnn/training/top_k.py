"""Top-k accuracy at the price of the k largest logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class TopKAccuracy(Metric):
    """Share of the images whose class is among the ``top_k`` with the largest logits; the micro average of torchmetrics'
    ``MulticlassAccuracy``.

    That one compares one-hot rows of all classes: with 1000 of them it takes ten times as long as the search itself.

    Args:
        top_k: How many classes count as an answer.

    Shape:
        Logits (N, num_classes), ``num_classes`` at least ``top_k``; labels (N,) int64. Computes a scalar.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, top_k: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        best = logits.topk(self.top_k, dim=1).indices
        self.hits += (best == labels[:, None]).any(dim=1).sum()
        self.images += len(labels)

    def compute(self) -> Tensor:
        return self.hits / self.images
