"""Checks of the counts that a user gives."""


def require_positive(**counts: int) -> None:
    """Checks that each count is a whole number of at least 1.

    >>> require_positive(num_classes=10, in_channels=0)
    Traceback (most recent call last):
    ...
    ValueError: in_channels must be a whole number of at least 1, got 0

    Raises:
        ValueError: If one is not; says which, and what it is.
    """
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {count!r}")
