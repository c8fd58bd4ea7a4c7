"""Checks of arguments."""

from collections.abc import Iterable
from numbers import Integral


def require_positive(**counts: int) -> None:
    """Checks that each count is a whole number of at least 1.

    >>> require_positive(num_classes=10, in_channels=0)
    Traceback (most recent call last):
    ...
    ValueError: in_channels must be a whole number of at least 1, got 0

    Raises:
        ValueError: If one is not; names it and its value.
    """
    for name, count in counts.items():
        if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {count!r}")


def require_probability(**probabilities: float) -> None:
    """Checks that each probability is at least 0 and below 1.

    Raises:
        ValueError: If one is not; names it and its value.
    """
    for name, probability in probabilities.items():
        if not 0 <= probability < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {probability}")


def require_choice(choices: Iterable[str], **values: str) -> None:
    """Checks that each value is one of the choices.

    Raises:
        ValueError: If one is not; names it and its value.
    """
    for name, value in values.items():
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
