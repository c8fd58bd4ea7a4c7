"""Milliseconds that a network takes, in several forms measured in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

ROUNDS = 5
# Each measurement lasts at least so many seconds.
SECONDS = 0.1


def milliseconds(calls: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Milliseconds of a call of each function: the median over rounds in which all are measured in turn.

    Other programs then disturb all alike. The first calls, which prepare, are not counted.

    Args:
        calls: The functions by name.
        rounds: So often each is measured.
    """
    counts = {}
    for name, call in calls.items():
        for _ in range(3):
            call()
        began = time.perf_counter()
        call()
        counts[name] = max(1, round(SECONDS / max(time.perf_counter() - began, 1e-6)))
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(counts[name]):
                call()
            found[name].append(1000 * (time.perf_counter() - began) / counts[name])
    return {name: statistics.median(times) for name, times in found.items()}
