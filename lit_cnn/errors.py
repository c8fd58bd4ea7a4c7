"""Errors and warnings of this project."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Training cannot continue because of its own course, not because of the arguments or the machine."""


class DataWarning(UserWarning):
    """Something about a dataset that ``lit-cnn doctor`` reports as a finding."""


class OwnValidationError(ValueError):
    """Validation images are to be drawn, but they are given by hand."""


class Interrupted(SystemExit):
    """A signal stopped the training. Ends the program with status 128 + signal number, as shells do.

    Args:
        signum: Number of the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


class ParityError(RuntimeError):
    """An exported network computes something else than the network that was exported."""
