"""What ``lit-cnn doctor`` reports. Imports nothing heavy: an error in the arguments is a finding before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning", "ok"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Args:
        level: ``error`` if training would fail, ``warning`` if its result would be doubtful.
        subject: What was checked.
        text: The result, for people.
        details: Names of files and numbers, for programs.
    """

    level: Level
    subject: str
    text: str
    details: dict[str, Any] = field(default_factory=dict)
