"""Questions of studies, and values that answer them."""

from __future__ import annotations

import numpy as np

from lit_cnn.claims.design import Question
from lit_cnn.claims.verdict import Answer, Verdict, answer

NOISE = (-0.2, -0.1, 0.0, 0.1, 0.2)  # its 95 % interval is ±0.196


def ask(**changes: object) -> Question:
    arguments = {"text": "?", "measure": "accuracy", "contrast": {"b": 1, "a": -1}, "expect": "above", "threshold": 0.0}
    return Question(**arguments | changes)


def differences(mean: float) -> dict[str, dict[int, float | None]]:
    """Two arms whose differences by seed have this mean."""
    return {
        "a": dict(enumerate((50.0, 60.0, 70.0, 80.0, 90.0))),
        "b": {seed: 50.0 + 10 * seed + mean + noise for seed, noise in enumerate(NOISE)},
    }


def decide(mean: float, **changes: object) -> Answer:
    return answer(ask(**changes), differences(mean))


def simulate(question: Question, contrasts: np.ndarray, num_deciding: int = 1) -> Verdict:
    values = dict(enumerate(contrasts))
    return answer(question, {"a": dict.fromkeys(values, 0.0), "b": values}, num_deciding=num_deciding).verdict
