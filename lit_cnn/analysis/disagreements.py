"""Images that most networks of one arm recognise, and most of another do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from lit_cnn.analysis.arms import Arm
from lit_cnn.analysis.images import is_of_same_images, pair_runs
from lit_cnn.analysis.page import EXACT_SIZE, picture
from lit_cnn.analysis.pictures import pixels_at
from lit_cnn.data.loader import Images
from lit_cnn.runs.predictions import RunPredictions


@dataclass(frozen=True)
class ArmAnswer:
    """What the networks of an arm answered for an image.

    Args:
        arm: Name of the arm.
        predicted: The class that most of them named; of those that were wrong, if most were.
        num_right: Number of those that recognised it.
        num_networks: Number of those that had it.
    """

    arm: str
    predicted: str
    num_right: int
    num_networks: int

    @property
    def is_right(self) -> bool:
        return 2 * self.num_right > self.num_networks


@dataclass(frozen=True)
class Disagreement:
    """An image on which two arms disagree.

    Args:
        position: Among the images of the first run of the first arm.
        file: Name of its file, or its number.
        label: Its class.
        answers: Of both arms.
    """

    position: int
    file: str
    label: str
    answers: tuple[ArmAnswer, ArmAnswer]


@dataclass(frozen=True)
class Shown:
    """A disagreement with its image: an address that holds it, and whether it has all its pixels."""

    found: Disagreement
    source: str
    is_exact: bool


def find_disagreements(one: Arm, other: Arm, split: str) -> tuple[list[Disagreement], list[Disagreement]]:
    """Images that more than half of the networks of one arm recognise, and fewer than half of the other.

    Args:
        one: The first arm; images are those of its first run.
        other: The second.
        split: ``test`` or ``val``.

    Returns:
        Images that the first arm alone recognises, and those that the second does; the clearest first.

    Raises:
        ValueError: If there are no predictions for the same images; names the command that writes them.
    """
    _, reason = pair_runs(one, other, split)
    if reason:
        raise ValueError(reason)
    first = one.runs[0].predictions(split)
    names, classes, labels = list(first.images), first.class_names, first.labels
    counts = [_count(arm, split, first) for arm in (one, other)]
    shares = [right / np.maximum(networks, 1) for right, networks, _ in counts]
    both = (counts[0][1] > 0) & (counts[1][1] > 0)

    def answers(position: int) -> tuple[ArmAnswer, ArmAnswer]:
        label = int(labels[position])
        return _answer(one, counts[0], position, label, classes), _answer(other, counts[1], position, label, classes)

    sides = []
    for better, worse in ((0, 1), (1, 0)):
        chosen = np.flatnonzero(both & (shares[better] > 0.5) & (shares[worse] < 0.5))
        chosen = chosen[np.argsort(shares[worse][chosen] - shares[better][chosen], kind="stable")]
        sides.append(
            [
                Disagreement(
                    position,
                    PurePath(names[position]).name,
                    classes[labels[position]],
                    answers(position),
                )
                for position in chosen.tolist()
            ]
        )
    return sides[0], sides[1]


def show(found: Sequence[Disagreement], images: Images) -> list[Shown]:
    """Disagreements with their pixels.

    Args:
        found: What to show.
        images: The images of the first run of the first arm.
    """
    pixels = [pixels_at(images, one.position) for one in found]
    return [Shown(one, picture(own), max(own.shape[:2]) <= EXACT_SIZE) for one, own in zip(found, pixels, strict=True)]


# Networks that recognised each image, networks that had it, and their answers.
Counts = tuple[np.ndarray, np.ndarray, dict[int, list[int]]]


def _count(arm: Arm, split: str, of: RunPredictions) -> Counts:
    places = {name: place for place, name in enumerate(of.images)}
    right, networks = np.zeros(len(of), dtype=np.int64), np.zeros(len(of), dtype=np.int64)
    answers: dict[int, list[int]] = {}
    for run in arm.runs:
        predictions = run.predictions(split)
        names = of.images if is_of_same_images(predictions, of) else predictions.images
        own = np.array([places.get(name, -1) for name in names], dtype=np.int64)
        known = own >= 0
        np.add.at(right, own[known], predictions.correct[known])
        np.add.at(networks, own[known], 1)
        for place, predicted in zip(own[known].tolist(), predictions.predicted[known].tolist(), strict=True):
            answers.setdefault(place, []).append(predicted)
    return right, networks, answers


def _answer(arm: Arm, counts: Counts, position: int, label: int, classes: Sequence[str]) -> ArmAnswer:
    right, networks, answers = counts
    is_right = 2 * right[position] > networks[position]
    ((predicted, _),) = Counter(answer for answer in answers[position] if (answer == label) == is_right).most_common(1)
    return ArmAnswer(arm.name, classes[predicted], int(right[position]), int(networks[position]))
