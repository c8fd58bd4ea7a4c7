"""What is measured, in words."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lit_cnn.claims.measured import OF_CELLS

# By kind of measure, whose arguments are put in.
TITLES = {
    "accuracy": "{split} accuracy in %",
    "loss": "{split} loss",
    "gap": "training less test accuracy in points",
    "steps_to_error": "steps to {percent} % training error",
    "steps_to_leave_chance": "steps until the loss leaves that of guessing",
    "accuracy_lost_by_shifts": "points lost by shifts of {pixels} pixels",
    "accuracy_at_size": "test accuracy at {size}×{size} in %",
    "takes_size": "takes images of {size}×{size} (1: yes)",
    "accuracy_lost_by_noise": "points lost by noise of sd {sd}",
    "gradient_ratio": "gradient of first over last layer, at the {when}",
    "activation_decay": "activations of last over first layer",
    "use_of_distant_features": "gain in use of distant features",
    "accuracy_lost_without": "points lost without source {source} of block {block}",
    "feature_correlation": "mean absolute correlation of features",
    "parameters": "parameters",
    "multiply_adds": "multiply-adds of an image",
    "memory": "bytes that a step keeps for its backward pass",
    "images_per_s": "training images per second of one thread",
    "largest_stable_rate": "largest stable learning rate",
}


def title_of(name: str, measure: Mapping[str, Any]) -> str:
    """A measure in words.

    Args:
        name: As the claim calls it.
        measure: Its kind, as ``measure``, and arguments.
    """
    kind = str(measure["measure"])
    parameters = inspect.signature(OF_CELLS[kind]).parameters if kind in OF_CELLS else {}
    arguments = {argument: parameter.default for argument, parameter in parameters.items()} | dict(measure)
    title = TITLES.get(kind, name.replace("_", " "))
    return title.format(**arguments, percent=f"{100 * measure.get('error', 0):g}")
