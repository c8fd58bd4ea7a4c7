"""Makes rare classes count as much as common ones: weights in the loss, or images that are drawn more often."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from lit_cnn.system.text import printable, shorten

ClassWeights = list[float] | Literal["balanced"] | None


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """Weights in inverse proportion to the images of the classes: images / (classes · images of the class).

    They are those of scikit-learn's ``compute_class_weight("balanced")``; their mean over the images is 1.

    >>> balanced_weights([30, 10])
    [0.6666666666666666, 2.0]
    """
    return [sum(counts) / (len(counts) * count) for count in counts]


def given_weights(class_weights: ClassWeights) -> Tensor | None:
    """The weights of the classes, (C,) float32; None for equal ones, and for those that will follow from the data."""
    if class_weights is None or class_weights == "balanced":
        return None
    return torch.tensor(class_weights, dtype=torch.float32)


def cross_entropy(logits: Tensor, labels: Tensor, class_weights: Tensor | None, label_smoothing: float) -> Tensor:
    """Cross-entropy of a batch. Its mean over all processes is that of the whole batch.

    Args:
        logits: Outputs of the network.
        labels: Classes, or the shares of the classes in mixed images.
        class_weights: Weight of each class; None for equal ones.
        label_smoothing: Share of the target that is spread over all classes.

    Shape:
        Logits (N, C); labels (N,) int64 or (N, C); class_weights (C,). Output a scalar.
    """
    entropy = partial(F.cross_entropy, logits, labels, weight=class_weights, label_smoothing=label_smoothing)
    if class_weights is None or not (torch.distributed.is_initialized() or labels.ndim == 2):
        return entropy()
    # The classes of each process's share of the batch differ, and so does the sum of their weights. Of mixed images, PyTorch
    # divides by the number of images.
    # Not as a product of matrices, which mixed precision rounds.
    weight = ((labels * class_weights).sum(1) if labels.ndim == 2 else class_weights[labels]).sum()
    if not torch.distributed.is_initialized():
        return entropy(reduction="sum") / weight
    torch.distributed.all_reduce(weight)
    return entropy(reduction="sum") * torch.distributed.get_world_size() / weight


def set_class_weights(classifier: pl.LightningModule) -> None:
    """Gives a classifier the weights of the classes that follow from its data, if it shall balance them.

    They are computed at each start, not saved: a resumed run has the same training images, which are compared by content.

    Args:
        classifier: A :class:`lit_cnn.training.classifier.LitClassifier` whose data have been set up for training.

    Raises:
        ValueError: If classes would be balanced twice, or cannot be balanced.
    """
    given, data = classifier.hparams["class_weights"], classifier.trainer.datamodule
    balance = getattr(data, "balance", "none")
    if balance == "weights" and given is not None:
        raise ValueError("data.balance=weights and model.class_weights both weight the classes: leave one of them out")
    if balance == "sampler" and given == "balanced":
        raise ValueError("data.balance=sampler and model.class_weights=balanced would balance twice: leave one of them out")
    if balance == "sampler" and classifier.trainer.overfit_batches:
        raise ValueError("data.balance=sampler draws other images in each epoch, overfit_batches does not: leave one out")
    if balance == "sampler":
        _require_all_classes("data.balance=sampler", data, classifier.num_classes)
    if given not in (None, "balanced"):
        return
    weights = None  # also those of an earlier training
    if balance == "weights" or given == "balanced":
        setting = "data.balance=weights" if balance == "weights" else "model.class_weights=balanced"
        _require_all_classes(setting, data, classifier.num_classes)
        balanced = balanced_weights(data.counts()["train"])
        weights = torch.tensor(balanced, dtype=classifier.dtype, device=classifier.device)
    classifier.class_weights = weights


def _require_all_classes(setting: str, data: Any, num_classes: int) -> None:
    if not hasattr(data, "counts"):
        raise ValueError(f"{setting} needs a data module of lit_cnn, which counts its images: give class_weights as numbers")
    counts = data.counts()["train"]
    if len(counts) != num_classes:
        raise ValueError(
            f"{setting} needs images for each of {num_classes} outputs, and {data.name} has {len(counts)} classes: "
            f"build the network with num_classes={len(counts)}"
        )
    if absent := [name for name, count in zip(data.class_names, counts, strict=True) if not count]:
        name = shorten(printable(absent[0]), 40)
        raise ValueError(f"{setting} needs training images of each class, and {name} has none: add images")
