"""Errors of this project's own."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Training cannot go on: not for what the user gave, nor for what the machine lacks, but for how it went."""


class Interrupted(SystemExit):
    """Training was told to stop by a signal, and did; ends the program with 128 + the signal's number, as shells do.

    Args:
        signum: Number of the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum
