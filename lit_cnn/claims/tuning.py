"""The choice of an arm's learning rate from the trainings of its search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lit_cnn.claims.design import STEPS, Study

# The finished trainings of an arm's search by rate, one for each seed.
Search = Mapping[float, Sequence[Mapping[str, Any]]]


def choose_rate(study: Study, search: Search) -> float | None:
    """The best rate of a finished search; None if no rate trains the arm.

    A rate with which a seed diverged, or has no value, is not chosen. Of equal rates, the lowest is; but if steps to a
    threshold are counted that no rate reaches, the one with the lowest mean of the final training losses.

    Args:
        study: Whose rates and measure they are.
        search: All trainings of the arm's search.
    """
    name = study.tuning.measure
    scores: dict[float, float] = {}
    for rate, entries in search.items():
        values = [entry["values"].get(name) for entry in entries]
        if not any(entry["diverged"] for entry in entries) and all(value is not None for value in values):
            scores[rate] = sum(values) / len(values)
    sign = 1 if study.tuning.highest else -1
    losses = final_losses(study, search)
    return max(scores, key=lambda rate: (sign * scores[rate], -losses.get(rate, 0.0), -rate), default=None)


def is_unreached(study: Study, search: Search) -> bool:
    """Whether a rate is chosen by steps to a threshold that no training of the search reached."""
    name = study.tuning.measure
    if not str(study.measures[name]["measure"]).startswith(STEPS):
        return False
    return all(entry["values"].get(name) == entry["planned"] for entries in search.values() for entry in entries)


def final_losses(study: Study, search: Search) -> dict[float, float]:
    """The mean final training loss of each rate, infinite if a seed has none.

    They are empty if they do not decide: a threshold is reached, or a result is older than this rule.
    """
    entries = [entry for of_rate in search.values() for entry in of_rate]
    if not is_unreached(study, search) or any("final_loss" not in entry for entry in entries):
        return {}
    losses = {rate: [entry["final_loss"] for entry in of_rate] for rate, of_rate in search.items()}
    return {rate: math.inf if None in values else sum(values) / len(values) for rate, values in losses.items()}
