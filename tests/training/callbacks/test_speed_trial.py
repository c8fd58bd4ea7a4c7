"""How many validations an epoch has, of which a time limit counts the time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lit_cnn.training.callbacks.speed_trial import validations_per_epoch


@pytest.mark.parametrize(
    ("interval", "every_n_epochs", "number"),
    [
        (None, 1, 1.0),
        (1.0, 1, 1.0),
        (0.25, 1, 4.0),
        (0.25, 2, 2.0),
        (None, 10, 0.1),
        (20, 1, 5.0),
        (30, 1, 3.0),
        (50, None, 2.0),
        (400, None, 0.25),
        (timedelta(seconds=5), 1, 4.0),
        (0.015, 1, 100.0),  # each batch
        (0.07, 1, 14.0),
    ],
)
def test_validations_are_counted_as_the_trainer_makes_them(
    interval: float | timedelta | None, every_n_epochs: int | None, number: float
):
    assert validations_per_epoch(interval, every_n_epochs, num_batches=100, training_seconds=20.0) == number
