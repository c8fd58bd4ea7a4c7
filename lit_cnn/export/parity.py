"""Proof that an exported network computes what the network of the run computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lit_cnn.errors import ParityError
from lit_cnn.export.network import ExportedNetwork
from lit_cnn.export.samples import Samples
from lit_cnn.export.validation import Answer

# Probabilities may differ by so much, as those of other orders of additions do.
TOLERANCE = 1e-4
BATCH_SIZES = (1, 2, 17, 64)
# Images that are compared at their own size, where the network resizes them.
MAX_WHOLE = 64
# So many of those must have the run's class: the network resizes without rounding, Pillow does not.
MIN_SHARE_EQUAL = 0.95


@dataclass(frozen=True)
class Parity:
    """How an exported network agrees with its run.

    Args:
        max_difference: Largest difference of two probabilities.
        num_answers: Number of compared answers, over all batch sizes.
        num_equal: So many have the same class.
        batch_sizes: Images at a time.
    """

    max_difference: float
    num_answers: int
    num_equal: int
    batch_sizes: Sequence[int]

    @property
    def share_equal(self) -> float:
        """Share of the answers that have the same class."""
        return self.num_equal / self.num_answers

    def as_json(self) -> dict[str, Any]:
        """As a file keeps it."""
        return {
            "max_difference": self.max_difference,
            "answers": self.num_answers,
            "equal_answers": self.share_equal,
            "batch_sizes": list(self.batch_sizes),
        }


def check_parity(form: str, answer: Answer, samples: Samples, batch_sizes: Sequence[int] = BATCH_SIZES) -> Parity:
    """Compares an exported network with its run, at several batch sizes.

    Args:
        form: Name of what was exported, for errors.
        answer: The exported network.
        samples: Images with the run's answers.
        batch_sizes: Images at a time.

    Raises:
        ParityError: If a probability differs by more than :data:`TOLERANCE`, or a class without a tie; names the image.
    """
    found = [
        compare(f"{form}, batches of {size}", np.concatenate([answer(part) for part in samples.pixels.split(size)]), samples)
        for size in batch_sizes
    ]
    return Parity(
        max(one.max_difference for one in found),
        sum(one.num_answers for one in found),
        sum(one.num_equal for one in found),
        batch_sizes,
    )


def compare(form: str, answered: np.ndarray, samples: Samples) -> Parity:
    """Compares probabilities (N, num_classes) with those of the run.

    Raises:
        ParityError: See :func:`check_parity`.
    """
    expected = samples.probabilities
    if answered.shape != expected.shape:
        raise ParityError(f"{form}: probabilities of shape {answered.shape}, the run gives {expected.shape}")
    differences = np.abs(answered - expected).max(axis=1)
    worst = int(np.nan_to_num(differences, nan=np.inf).argmax())
    if not differences[worst] <= TOLERANCE:
        raise ParityError(
            f"{form}: a probability of {samples.files[worst].name} differs by {differences[worst]:.2g} from the run's, "
            f"more than {TOLERANCE:g}"
        )
    equal = check_answers(form, answered.argmax(axis=1), samples)
    return Parity(float(differences[worst]), len(expected), equal, ())


def check_whole_images(form: str, answer: Answer, network: ExportedNetwork, samples: Samples) -> Parity:
    """Compares an exported network that resizes images with itself in PyTorch, and with how the run reads files.

    Args:
        form: Name of what was exported, for errors.
        answer: The exported network.
        network: The same in PyTorch.
        samples: Images with the run's answers.

    Returns:
        The difference from the run, which decodes and resizes with Pillow: some levels of 255.

    Raises:
        ParityError: If it differs from the network in PyTorch by more than :data:`TOLERANCE`; names the image. If fewer
            than :data:`MIN_SHARE_EQUAL` of the answers are the run's, or there is no image to compare.
    """
    differences: list[float] = []
    num_equal = 0
    for position, pixels in samples.whole(MAX_WHOLE):
        answered = answer(pixels)[0]
        with torch.inference_mode():
            expected = network(network.as_input(pixels))[0].numpy(force=True)
        if not np.abs(answered - expected).max() <= TOLERANCE:
            raise ParityError(
                f"{form}: at its own size, a probability of {samples.files[position].name} differs by "
                f"{np.abs(answered - expected).max():.2g} from the network's in PyTorch"
            )
        own = samples.probabilities[position]
        differences.append(float(np.abs(answered - own).max()))
        num_equal += int(answered.argmax() == own.argmax())
    if not differences:
        raise ParityError(
            f"{form}: its own resizing cannot be compared: no image is opaque, of 8 bits, grey or RGB; leave out --resize"
        )
    parity = Parity(max(differences), len(differences), num_equal, (1,))
    if parity.share_equal < MIN_SHARE_EQUAL:
        raise ParityError(
            f"{form}: with its own resizing, {num_equal} of {len(differences)} answers are the run's, fewer than "
            f"{MIN_SHARE_EQUAL:.0%}; leave out --resize"
        )
    return parity


def check_answers(form: str, classes: np.ndarray, samples: Samples, of: Sequence[int] | None = None) -> int:
    """Compares classes (N,) with those of the run, and counts those that are equal.

    Two classes are tied if the run's probabilities differ by at most :data:`TOLERANCE`.

    Args:
        form: Name of what was exported, for errors.
        classes: The answers.
        samples: Images with the run's answers.
        of: Positions of the images that were classified, at least one; all if not given.

    Raises:
        ParityError: If one differs without a tie; names the image.
    """
    positions = np.arange(len(samples.files)) if of is None else np.asarray(of)
    expected = samples.probabilities[positions]
    rows = np.arange(len(positions))
    lost = expected.max(axis=1) - expected[rows, classes]
    worst = int(np.nan_to_num(lost, nan=np.inf).argmax())
    if not lost[worst] <= TOLERANCE:
        file = Path(samples.files[positions[worst]]).name
        names = samples.trained.class_names
        raise ParityError(
            f"{form}: {file} is {names[classes[worst]]}, the run answers {names[expected[worst].argmax()]} "
            f"({expected[worst].max():.4f} against {expected[worst, classes[worst]]:.4f})"
        )
    return int((classes == expected.argmax(axis=1)).sum())
