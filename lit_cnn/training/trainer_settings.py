"""Settings of the Trainer that a resumed training keeps."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytorch_lightning as pl

from lit_cnn.system.paths import quoted

# Settings on which every step depends.
SETTINGS = ("accumulate_grad_batches", "gradient_clip_algorithm", "gradient_clip_val", "precision")


def trainer_settings(trainer: pl.Trainer) -> dict[str, Any]:
    """The settings of a Trainer that a resumed training keeps, for its checkpoints."""
    values = {name: getattr(trainer, name) for name in SETTINGS}
    # A checkpoint that holds an enumeration cannot be loaded with weights_only.
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}


def compare_trainer(saved: Mapping[str, Any], current: Mapping[str, Any], path: Any) -> None:
    """Refuses to resume a training with other settings of the Trainer.

    Raises:
        ValueError: At the first difference.
    """
    for name in saved.keys() & current.keys():
        if saved[name] != current[name]:
            raise ValueError(
                f"the training of {path} began with {name}={saved[name]} and cannot be resumed with {current[name]}: "
                f"give its own value, or start a new run from its weights (--model.weights {quoted(path)})"
            )
