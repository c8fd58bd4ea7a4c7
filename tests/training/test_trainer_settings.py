"""The settings of the Trainer in a checkpoint."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytorch_lightning import Trainer

from lit_cnn.training.trainer_settings import compare_trainer, trainer_settings


def test_they_are_plain_values(trainer: Callable[..., Trainer]):
    settings = trainer_settings(trainer(gradient_clip_val=1.0, gradient_clip_algorithm="value"))
    assert {type(value) for value in settings.values()} <= {str, int, float, type(None)}
    assert settings["gradient_clip_algorithm"] == "value"
    compare_trainer(settings, settings, "a run")
    with pytest.raises(ValueError, match="began with gradient_clip_algorithm=value and cannot be resumed with norm"):
        compare_trainer(settings, settings | {"gradient_clip_algorithm": "norm"}, "a run")
