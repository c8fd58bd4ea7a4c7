"""What the best checkpoint of a run is judged by."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

# Each with the direction that is better.
MONITORS = {"val/acc": "max", "val/loss": "min", "val/f1": "max", "last": "max"}
# What ``fit`` decides by the schedule, see :func:`choose_monitor`.
DEFAULT_MONITOR = "auto"
# Schedules whose learning rate ends near zero.
ANNEALED = ("cosine", "one_cycle", "step")
# Of runs whose config.yaml names none, because it is older than the choice.
FIRST_MONITOR = "val/acc"

_NAMES = {"val/acc": "accuracy", "val/loss": "loss", "val/f1": "macro F1"}

Row = TypeVar("Row", bound=Mapping[str, Any])


def monitor_of(settings: Mapping[str, Any]) -> str:
    """What the best checkpoint of a run is judged by, from the content of its ``config.yaml``."""
    monitor = settings.get("monitor")
    return monitor if monitor in MONITORS else FIRST_MONITOR


def chose_epoch(settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the validation images chose the best checkpoint, which makes the score on them a little too good.

    Args:
        settings: Content of the ``config.yaml``.
        rows: Metrics of each epoch.
    """
    monitor, interval = monitor_of(settings), (settings.get("trainer") or {}).get("val_check_interval")
    num_epochs = sum(row.get(monitor) not in (None, "") for row in rows)
    is_often = interval is not None and not (isinstance(interval, float) and interval == 1)
    return num_epochs > 1 or (num_epochs == 1 and is_often)


def choose_monitor(schedule: str | None, may_end_early: bool) -> str:
    """What the best checkpoint is judged by if the user does not say.

    The last weights of a training whose learning rate falls to zero are more accurate than those with the highest accuracy
    on few validation images (``experiments/results/checkpoint_rule.py``).

    Args:
        schedule: Of the learning rate; None if it is not known.
        may_end_early: Whether the training may end before its schedule does.
    """
    return "last" if schedule in ANNEALED and not may_end_early else "val/acc"


def names_monitor(config: str) -> bool:
    """Whether the text of a ``config.yaml`` names what the best checkpoint is judged by. Older ones do not."""
    return re.search(r"^monitor:", config, re.MULTILINE) is not None


def describe_monitor(monitor: str, noun: str = "validation ") -> str:
    """``highest validation accuracy``.

    Args:
        monitor: One of :data:`MONITORS`.
        noun: Stands before the metric.
    """
    if monitor == "last":
        return f"last {noun}".rstrip()
    return f"{'highest' if MONITORS[monitor] == 'max' else 'lowest'} {noun}{_NAMES[monitor]}"


def describe_checkpoint(monitor: str) -> str:
    """``checkpoint with the highest accuracy``, for what the best checkpoint is judged by."""
    return "last checkpoint" if monitor == "last" else f"checkpoint with the {describe_monitor(monitor, noun='')}"


def best_row(rows: Sequence[Row], monitor: str) -> Row | None:
    """The epoch that the best checkpoint is of: the last of equal ones, because a later network replaces it.

    Args:
        rows: Metrics of each epoch by name. Rows without a validation are skipped.
        monitor: One of :data:`MONITORS`.
    """
    metric = "val/acc" if monitor == "last" else monitor
    validated = [row for row in rows if row.get(metric) not in (None, "")]
    if monitor == "last" or not validated:
        return validated[-1] if validated else None
    sign = 1 if MONITORS[monitor] == "max" else -1

    def score(row: Row) -> float:
        value = sign * float(row[metric])
        return -math.inf if math.isnan(value) else value

    return max(reversed(validated), key=score)
