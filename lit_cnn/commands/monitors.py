"""Whether the metrics that callbacks watch exist; Lightning finds out after the first epoch."""

from __future__ import annotations

import copy
from typing import Any

import torch

from lit_cnn.commands.resuming import warn
from lit_cnn.training.callbacks.record import STEP_METRICS
from lit_cnn.training.classifier import LitClassifier

# What a training logs besides the metrics of its evaluation.
TRAINING_METRICS = ("train/loss", "train/acc", "train/images_per_s", *STEP_METRICS, "epoch", "step")


def check_monitors(callbacks: list[Any], model: LitClassifier, validates: bool) -> None:
    """Refuses callbacks of the user that watch a metric which is never logged; warns of those that watch the wrong way.

    Args:
        callbacks: Those of the user.
        model: A network of this package. Others may log more.
        validates: Whether the training has a validation.

    Raises:
        ValueError: Names the metrics that there are.
    """
    watching = [callback for callback in callbacks if getattr(callback, "monitor", None)]
    if not watching or not type(model).__module__.startswith("lit_cnn."):
        return
    metrics = copy.deepcopy(model.metrics["val"])
    metrics.update(torch.zeros(1, model.num_classes), torch.zeros(1, dtype=torch.int64))
    known = [*(metrics.compute() if validates else []), *TRAINING_METRICS]
    for callback in watching:
        name, monitor, mode = type(callback).__name__, callback.monitor, getattr(callback, "mode", None)
        if monitor not in known and getattr(callback, "strict", True):
            raise ValueError(f"{name} cannot watch {monitor}, which is not logged: there are {', '.join(known)}")
        better = "min" if monitor.endswith(("loss", "ece")) else "max" if monitor.startswith(("val/", "train/acc")) else mode
        if mode is not None and mode != better:
            warn(f"{name} takes a {'lower' if mode == 'min' else 'higher'} {monitor} for better: add mode={better}")
