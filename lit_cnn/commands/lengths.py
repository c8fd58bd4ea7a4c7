"""How long a training may be, and how much of its data it looks at: limits that leave nothing to do, or contradict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from lit_cnn.commands.resuming import warn

# Limits that would end a training before its first step.
_OF_TRAINING = ("max_epochs", "max_steps", "limit_train_batches")
# The part of the data that a command looks at, and its limit.
_EVALUATED = {"validate": ("validation", "limit_val_batches"), "test": ("test", "limit_test_batches")}


def check_lengths(settings: Mapping[str, Any], command: str, looks_at_test: bool = False) -> None:
    """Refuses limits of the Trainer with which a command would do nothing, or not what it says.

    Args:
        settings: Of the Trainer, as plain values.
        command: ``fit``, ``validate`` or ``test``.
        looks_at_test: Whether ``fit`` looks at the test images in the end.

    Raises:
        ValueError: At the first limit; names it.
    """
    longest = settings.get("max_time")
    is_over = longest is not None and read_duration(longest, "trainer.max_time") == timedelta()
    if settings.get("fast_dev_run"):  # which sets the limits itself
        return
    evaluated = [_EVALUATED[command]] if command in _EVALUATED else []
    for part, name in [*evaluated, *([_EVALUATED["test"]] if looks_at_test else [])]:
        if _number(settings, name) == 0:
            raise ValueError(f"trainer.{name} is 0: no {part} image would be looked at; give 1.0 for all of them")
    if command != "fit":
        return
    for name in _OF_TRAINING:
        if _number(settings, name) == 0:
            raise ValueError(f"trainer.{name} is 0: nothing would be trained; leave it out, or give a larger number")
    if is_over:
        raise ValueError("trainer.max_time is 0: nothing would be trained; leave it out, or give a longer time")
    for unit in ("epochs", "steps"):
        least, most = _number(settings, f"min_{unit}"), _number(settings, f"max_{unit}")
        if least is not None and most is not None and 0 <= most < least:
            raise ValueError(f"trainer.min_{unit} is {least}, but trainer.max_{unit} is {most}: raise --trainer.max_{unit}")
    every, epochs = _number(settings, "check_val_every_n_epoch"), _number(settings, "max_epochs")
    if every is not None and epochs is not None and 0 < epochs < every:
        warn(f"trainer.check_val_every_n_epoch is {every} and trainer.max_epochs {epochs}: nothing is validated")


def read_duration(value: Any, name: str) -> timedelta:
    """A duration as Lightning takes it: ``days:hours:minutes:seconds``, or numbers by their units.

    Args:
        value: Of the setting.
        name: Name of the setting.

    Raises:
        ValueError: If it is no duration, or too long for one.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        if not re.fullmatch(r"\d+:\d\d:\d\d:\d\d", value.strip()):
            raise ValueError(
                f"{name} must be days:hours:minutes:seconds with two digits each, such as 00:02:30:00, got {value!r}"
            )
        value = dict(zip(("days", "hours", "minutes", "seconds"), map(int, value.strip().split(":")), strict=True))
    try:
        duration = timedelta(**value)
    except TypeError as error:
        raise ValueError(f"{name}: expected days, hours, minutes and seconds, got {value}") from error
    except OverflowError as error:
        raise ValueError(f"{name} is longer than {timedelta.max.days} days: leave it out for no limit") from error
    if duration < timedelta():
        raise ValueError(f"{name} must not be negative, got {value}")
    return duration


def _number(settings: Mapping[str, Any], name: str) -> float | None:
    value = settings.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
