"""Limits that leave nothing to do, or contradict one another, are refused before the images are read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lit_cnn.commands.lengths import check_lengths, read_duration


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_epochs": 0}, "trainer.max_epochs is 0: nothing would be trained"),
        ({"max_steps": 0}, "trainer.max_steps is 0: nothing would be trained"),
        ({"limit_train_batches": 0.0}, "trainer.limit_train_batches is 0: nothing would be trained"),
        ({"max_time": "00:00:00:00"}, "trainer.max_time is 0: nothing would be trained"),
        ({"max_time": {"seconds": 0}}, "trainer.max_time is 0: nothing would be trained"),
        ({"min_epochs": 11, "max_epochs": 10}, "trainer.min_epochs is 11, but trainer.max_epochs is 10"),
        ({"min_steps": 3, "max_steps": 2}, "trainer.min_steps is 3, but trainer.max_steps is 2"),
    ],
    ids=str,
)
def test_a_training_that_cannot_be(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        check_lengths(settings, "fit")
    check_lengths(settings, "test")
    check_lengths(settings | {"fast_dev_run": True}, "fit")


@pytest.mark.parametrize(
    "settings",
    [{"max_epochs": -1, "min_epochs": 5}, {"max_epochs": 2, "min_epochs": 2}, {"max_steps": -1, "min_steps": 9}, {}],
    ids=str,
)
def test_a_training_that_can_be(settings: dict[str, Any]):
    check_lengths(settings, "fit")


@pytest.mark.parametrize(
    ("command", "name", "after_fit"),
    [("test", "test", False), ("validate", "val", False), ("fit", "test", True)],
)
def test_a_command_looks_at_what_it_is_for(command: str, name: str, after_fit: bool):
    settings = {f"limit_{name}_batches": 0}
    with pytest.raises(ValueError, match=rf"trainer\.limit_{name}_batches is 0: no \w+ image would be looked at; give 1\.0"):
        check_lengths(settings, command, after_fit)
    check_lengths(settings, "fit")


def test_a_training_without_validation_is_told(capsys: pytest.CaptureFixture[str]):
    check_lengths({"check_val_every_n_epoch": 3, "max_epochs": 2}, "fit")
    assert (
        "warning: trainer.check_val_every_n_epoch is 3 and trainer.max_epochs 2: nothing is valid" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("99999999999:00:00:00", "a is longer than 999999999 days"),
        ({"days": 99999999999}, "a is longer than"),
        ({"secs": 2}, "a: expected days, hours, minutes and seconds, got {'secs': 2}"),
        ({"days": -2}, "a must not be negative"),
        ("2 hours", "a must be days:hours:minutes:seconds"),
    ],
    ids=str,
)
def test_what_is_no_duration(value: Any, message: str):
    with pytest.raises(ValueError, match=message):
        read_duration(value, "a")


@pytest.mark.parametrize("value", ["00:01:30:00", {"hours": 1, "minutes": 30}, timedelta(hours=1.5)], ids=str)
def test_a_duration_is_written_in_different_ways(value: Any):
    assert read_duration(value, "a") == timedelta(hours=1.5)
