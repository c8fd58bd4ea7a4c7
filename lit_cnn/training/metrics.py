"""Metrics over the images of an evaluation."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from lit_cnn.training.class_scores import Predictions

# Number of logits that are collected before one update of the metrics: one update for many batches is quicker.
NUM_PENDING_LOGITS = 2**20


def is_log_step(trainer: pl.Trainer) -> bool:
    """Whether Lightning passes the values of the current step to the logger."""
    every = trainer.log_every_n_steps
    return every > 0 and (trainer.global_step + 1) % every == 0


class EvaluationMetrics(nn.Module):
    """Metrics over all images of an evaluation; they do not depend on the sizes of the batches.

    They are ``loss`` (cross-entropy), ``acc``, ``f1`` (mean over classes), ``ece`` (expected calibration error, 15 bins)
    and, with more than five classes, ``top5``.

    Args:
        split: First part of their names, as in ``val/acc``.
        num_classes: Number of classes.

    Shape:
        Logits (N, num_classes) float32; labels (N,) int64.
    """

    def __init__(self, split: str, num_classes: int) -> None:
        super().__init__()
        common = partial(dict, num_classes=num_classes, validate_args=False)
        metrics: dict[str, Metric] = {
            "acc": MulticlassAccuracy(average="micro", **common()),
            "f1": ClassF1(average="macro", **common()),
            "ece": CalibrationError(num_bins=15),
        }
        if num_classes > 5:
            metrics["top5"] = TopKAccuracy(5)
        # Without groups: torchmetrics would merge metrics that are equal on the first batch.
        self.of_logits = MetricCollection(metrics, prefix=f"{split}/", compute_groups=False)
        # One value for each image: with nan_strategy="disable", torchmetrics 1.9 ignores the weights of a MeanMetric.
        self.loss = MeanMetric(nan_strategy="disable")
        self.name_of_loss = f"{split}/loss"
        self.predictions: Predictions | None = None  # set before an evaluation, it keeps the prediction for each image
        self._pending: list[tuple[Tensor, Tensor, Tensor | None]] = []  # of the last batches

    def update(self, logits: Tensor, labels: Tensor, positions: Tensor | None = None) -> None:
        """Adds a batch. The logits are used later: pass a copy if they will be overwritten.

        ``positions`` (N,) are those of the images in their split, if they are known.
        """
        self._pending.append((logits, labels, positions))
        if len(self._pending) * self._pending[0][0].numel() >= NUM_PENDING_LOGITS:
            self._update_with_pending()

    def _update_with_pending(self) -> None:
        if self._pending:
            all_logits, all_labels, positions = zip(*self._pending, strict=True)
            logits, labels = torch.cat(all_logits), torch.cat(all_labels)
            self._pending.clear()
            if self.predictions is not None:
                self.predictions.add(logits, labels, None if positions[0] is None else torch.cat(positions))
            self.loss.update(F.cross_entropy(logits, labels, reduction="none"))
            self.of_logits.update(logits, labels)

    def compute(self) -> dict[str, Tensor]:
        """All metrics by name, over the images of all processes."""
        self._update_with_pending()
        return {self.name_of_loss: self.loss.compute(), **self.of_logits.compute()}

    @property
    def class_counts(self) -> Tensor | None:
        """Images of each class that were recognised, that were taken for it, and that are there: (3, num_classes) int64.

        They are of the last :meth:`compute`, over the images of all processes.
        """
        return self.of_logits["f1"].class_counts

    def gather_predictions(self) -> Predictions | None:
        """The predictions of all processes, which all must call this; they are kept no longer."""
        self._update_with_pending()
        predictions, self.predictions = self.predictions, None
        return None if predictions is None else predictions.gathered()

    def reset(self) -> None:
        """Forgets all images.

        Call it before an evaluation too: an interrupted one leaves its sums, and one in inference mode leaves tensors that
        cannot be changed in another mode.
        """
        self._pending.clear()
        self.loss.reset()
        self.of_logits.reset()


class ClassF1(MulticlassF1Score):
    """torchmetrics' F1 score, which also gives the counts that it is made of.

    The mean is over the classes that occur among the labels or the predictions, as in scikit-learn.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.class_counts: Tensor | None = None

    def compute(self) -> Tensor:
        hits, others_taken, _, missed = self._final_state()
        self.class_counts = torch.stack([hits, hits + others_taken, hits + missed])
        return super().compute()


class CalibrationError(Metric):
    """Expected calibration error: the gap between accuracy and mean confidence of each bin, weighted by its images.

    Bins are equally wide. Unlike torchmetrics' ``MulticlassCalibrationError``, it takes logits for logits also if all lie
    between 0 and 1, and a confidence of 1 belongs to the last bin.

    Source: Naeini, Cooper and Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian binning", AAAI.

    Args:
        num_bins: Number of bins between 0 and 1.

    Shape:
        Logits (N, num_classes); labels (N,) int64. Computes a scalar; NaN for no images.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, num_bins: int) -> None:
        super().__init__()
        self.num_bins = num_bins
        self.add_state("gaps", torch.zeros(num_bins), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        confidences, predicted = logits.softmax(dim=1).max(dim=1)
        bins = F.one_hot((confidences * self.num_bins).long().clamp(0, self.num_bins - 1), self.num_bins)
        # Not in place: see TopKAccuracy.
        self.gaps = self.gaps + ((predicted == labels).float() - confidences) @ bins.float()
        self.images = self.images + len(labels)

    def compute(self) -> Tensor:
        return self.gaps.abs().sum() / self.images


class TopKAccuracy(Metric):
    """Share of the images whose class has one of the ``top_k`` largest logits.

    Equals the micro average of torchmetrics' ``MulticlassAccuracy``, but is quicker: that also compares one-hot rows.

    Args:
        top_k: Number of classes that count as an answer.

    Shape:
        Logits (N, num_classes), ``num_classes`` at least ``top_k``; labels (N,) int64. Computes a scalar; NaN for no images.
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
        # Not in place: a state that was reset in inference mode cannot be changed in place outside of it.
        self.hits = self.hits + (best == labels[:, None]).any(dim=1).sum()
        self.images = self.images + len(labels)

    def compute(self) -> Tensor:
        return self.hits / self.images
