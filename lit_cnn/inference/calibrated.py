"""Predictions with calibrated probabilities and the set of likely classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from lit_cnn.inference.batches import BadImage
from lit_cnn.inference.confidence import Confidence, confidence_of
from lit_cnn.inference.predict import Prediction
from lit_cnn.runs.checkpoint_file import peek
from lit_cnn.runs.folder import Run

Item = TypeVar("Item")

# Rate at which the set of a prediction holds the true class.
LEVEL = 0.90


def confidence_of_checkpoint(source: str) -> Confidence:
    """How sure the network of a checkpoint may be, from the validation predictions of its run.

    Args:
        source: The checkpoint file.

    Raises:
        ValueError: If it is no checkpoint of a run, or the run has no validation predictions of it.
    """
    path = Path(source)
    run = Run(path.parent.parent)
    if not path.is_file() or path.parent.name != run.checkpoints.name or not run.config.is_file():
        raise ValueError(
            f"calibrated probabilities need the validation predictions of a run: {source} is no checkpoint of one"
        )
    found = confidence_of(run)
    evaluated = run.path / (found.checkpoint or "")
    if evaluated.resolve() != path.resolve():
        raise ValueError(f"the validation predictions of {run.path} are of {evaluated}, not of {path}")
    step = peek(path).get("global_step")
    if found.step is not None and found.step != step:
        raise ValueError(
            f"the validation predictions of {run.path} are of step {found.step} of its training, and {path.name} is of step "
            f"{step}: write them with {run.evaluation_command('val')}"
        )
    return found


def calibrate(prediction: Prediction, confidence: Confidence) -> Prediction:
    """A prediction with calibrated probabilities, and the classes of its prediction set, the likeliest first."""
    probabilities = confidence.calibrate(prediction.logits)
    values = probabilities.astype(np.float32)
    values.setflags(write=False)
    in_set = confidence.sets_of(probabilities[None], LEVEL)[0]
    order = np.argsort(-probabilities, kind="stable")
    return replace(prediction, values=values, likely=tuple(prediction.class_names[i] for i in order if in_set[i]))


def calibrate_batches(
    batches: Iterator[list[tuple[Item, Prediction | BadImage]]], confidence: Confidence
) -> Iterator[list[tuple[Item, Prediction | BadImage]]]:
    """The batches of :func:`lit_cnn.inference.predict.predict`, calibrated one after another."""
    for batch in batches:
        yield [(item, calibrate(one, confidence) if isinstance(one, Prediction) else one) for item, one in batch]
