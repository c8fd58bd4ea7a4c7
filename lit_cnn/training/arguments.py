"""Which values the arguments of a classifier may have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lit_cnn.training.optimizer import require_weight_decay
from lit_cnn.training.schedule import rate_factor


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuses arguments of :class:`lit_cnn.training.classifier.LitClassifier` that are out of their range.

    Raises:
        ValueError: At the first of them.
    """
    num_classes, class_weights = arguments["num_classes"], arguments["class_weights"]
    norm_weight_decay, unfreeze_at = arguments["norm_weight_decay"], arguments["unfreeze_at"]
    if arguments["lr"] <= 0:
        raise ValueError(f"lr must be above 0, got {arguments['lr']}")
    if arguments["weight_decay"] < 0:
        raise ValueError(f"weight_decay must be at least 0, got {arguments['weight_decay']}")
    if norm_weight_decay is not None and not norm_weight_decay >= 0:
        raise ValueError(f"norm_weight_decay must be at least 0, got {norm_weight_decay}")
    if not 0 <= arguments["label_smoothing"] < 1:
        raise ValueError(f"label_smoothing must be at least 0 and below 1, got {arguments['label_smoothing']}")
    if isinstance(class_weights, str):
        if class_weights != "balanced":
            raise ValueError(f"class_weights must be balanced or {num_classes} numbers, got {class_weights!r}")
    elif class_weights is not None and len(class_weights) != num_classes:
        raise ValueError(f"class_weights must be {num_classes} numbers, one for each class, got {len(class_weights)}")
    elif class_weights is not None and not all(0 < weight < math.inf for weight in class_weights):
        raise ValueError(f"class_weights must be above 0 and finite, got {list(class_weights)}")
    if arguments["backbone_lr_scale"] <= 0:
        value = arguments["backbone_lr_scale"]
        raise ValueError(f"backbone_lr_scale must be above 0, got {value}; to stop it, freeze the backbone")
    if arguments["backbone_lr_scale"] != 1 and arguments["freeze"] == "backbone" and unfreeze_at is None:
        raise ValueError(
            f"backbone_lr_scale={arguments['backbone_lr_scale']} has no effect with freeze=backbone: "
            "leave it out, or set unfreeze_at (--model.unfreeze_at 0.3)"
        )
    if unfreeze_at is not None and not 0 < unfreeze_at < 1:
        raise ValueError(f"unfreeze_at must be above 0 and below 1, a share of the training, got {unfreeze_at}")
    if unfreeze_at is not None and arguments["freeze"] == "none":
        raise ValueError(f"unfreeze_at={unfreeze_at} needs a frozen part: set freeze (--model.freeze backbone)")
    rate_factor(arguments["schedule"], 1, arguments["warmup_ratio"])
    if norm_weight_decay is not None:
        require_weight_decay(arguments["optimizer"])
