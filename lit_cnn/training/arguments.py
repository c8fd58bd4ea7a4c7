"""Which values the arguments of a classifier may have."""

from __future__ import annotations

from collections.abc import Sequence


def check_arguments(
    num_classes: int,
    lr: float,
    weight_decay: float,
    norm_weight_decay: float | None,
    label_smoothing: float,
    class_weights: Sequence[float] | str | None,
    backbone_lr_scale: float,
) -> None:
    """Refuses values of :class:`lit_cnn.training.classifier.LitClassifier` that are out of their range.

    Raises:
        ValueError: At the first of them.
    """
    if lr <= 0:
        raise ValueError(f"lr must be above 0, got {lr}")
    if weight_decay < 0:
        raise ValueError(f"weight_decay must be at least 0, got {weight_decay}")
    if norm_weight_decay is not None and not norm_weight_decay >= 0:
        raise ValueError(f"norm_weight_decay must be at least 0, got {norm_weight_decay}")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be at least 0 and below 1, got {label_smoothing}")
    if isinstance(class_weights, str) and class_weights != "balanced":
        raise ValueError(f"class_weights must be balanced or {num_classes} numbers, got {class_weights!r}")
    if isinstance(class_weights, Sequence) and not isinstance(class_weights, str) and len(class_weights) != num_classes:
        raise ValueError(f"class_weights must be {num_classes} numbers, one for each class, got {len(class_weights)}")
    if backbone_lr_scale <= 0:
        raise ValueError(f"backbone_lr_scale must be above 0, got {backbone_lr_scale}; to stop it, freeze the backbone")
