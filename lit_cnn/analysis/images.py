"""Arms compared image by image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lit_cnn.analysis.arm_runs import ArmRun
from lit_cnn.analysis.arms import Arm
from lit_cnn.analysis.mcnemar import mcnemar, mcnemar_over_seeds
from lit_cnn.analysis.statistics import Interval, mean_interval
from lit_cnn.runs.predictions import RunPredictions

# An accuracy of predictions may differ from the one that was measured by rounding.
ROUNDING = 1e-5


@dataclass(frozen=True)
class ImagePairs:
    """How two arms differ on the same images, with the networks that there are.

    Several networks of an arm do not make more images: each image counts once, with the net number of seeds of which the
    second arm recognised it and the first did not. See :func:`~lit_cnn.analysis.mcnemar.mcnemar_over_seeds`.

    Args:
        num_images: Different images.
        seeds: Of each compared pair of networks.
        only_first: For each pair, images that the network of the first arm alone recognised.
        only_second: Likewise of the second arm.
        p_by_seed: Of the exact McNemar test for each pair.
        difference: Of accuracy, with its 95 % interval over images.
        p: Of the exact McNemar test over all seeds.
        p_adjusted: By Holm's method over all pairs of arms.
    """

    num_images: int
    seeds: tuple[str, ...]
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]
    p_by_seed: tuple[float, ...]
    difference: Interval
    p: float
    p_adjusted: float | None = None


def pair_images(one: Arm, other: Arm, split: str) -> tuple[ImagePairs | None, str]:
    """Compares the predictions of two arms for the same images, seed by seed.

    Returns:
        The comparison, or None and the reason why there is none.

    Raises:
        ValueError: See :func:`pair_runs`.
    """
    pairs, reason = pair_runs(one, other, split)
    if reason:
        return None, reason
    found = _count(pairs, split)
    return found, "" if found else f"{one.name} and {other.name} are not compared by image: they have one image"


def pair_runs(one: Arm, other: Arm, split: str) -> tuple[list[tuple[ArmRun, ArmRun]], str]:
    """Runs of two arms whose predictions are for the same images, by seed.

    Two single runs are compared also if their seeds differ, unless they have other validation images.

    Args:
        one: The first arm.
        other: The second.
        split: ``test`` or ``val``.

    Returns:
        The pairs; none, and the reason, if predictions are missing.

    Raises:
        ValueError: If predictions of the same seed are for other images.
    """
    pairs = [(run, other.by_seed[seed]) for seed, run in one.by_seed.items() if seed in other.by_seed]
    if not pairs and len(one.runs) == len(other.runs) == 1:
        pairs = [(one.runs[0], other.runs[0])]
    problem = ""
    if not pairs:
        problem = "they share no seed"
    elif split == "val" and any(first.seed.split != second.seed.split for first, second in pairs):
        problem = "their seeds have other validation images"
    else:
        runs = dict.fromkeys(run for pair in pairs for run in pair)
        problems = [problem for run in runs if (problem := find_problem(run, split))]
        if problems:
            problem = problems[0] + (f", likewise for all {len(problems)} such runs" if len(problems) > 1 else "")
    if problem:
        return [], f"{one.name} and {other.name} are not compared by image: {problem}"
    for pair in pairs:
        check_same_images(*pair, split)
    return pairs, ""


def find_problem(run: ArmRun, split: str) -> str:
    """Why a run has no predictions that can be used, and the command that writes them; empty if it has."""
    try:
        predictions = run.predictions(split)
    except ValueError as error:  # missing or damaged
        return str(error)
    pairs = [
        (predictions.checkpoint, run.results.get(f"{split}/checkpoint")),
        (predictions.digest, run.results.get(f"{split}/digest")),
    ]
    accuracy = run.value(split, "acc")
    is_same = all(own == measured for own, measured in pairs if own and measured)
    if is_same and len(predictions) and (accuracy is None or abs(_accuracy(predictions) - accuracy) <= ROUNDING):
        return ""
    return (
        f"the {split} predictions of {run.path} are of another evaluation than its results: "
        f"write them with {run.run.evaluation_command(split)}"
    )


def accuracy_interval(predictions: RunPredictions) -> Interval:
    """Accuracy of one network with Wilson's 95 % interval over images, (N,) with N of at least 1."""
    from lit_cnn.training.class_scores import wilson  # imports torch

    low, high = wilson(predictions.correct.sum(), np.array(len(predictions)))
    return Interval(_accuracy(predictions), float(low), float(high))


def _accuracy(predictions: RunPredictions) -> float:
    return float(predictions.correct.mean())


def check_same_images(one: ArmRun, other: ArmRun, split: str) -> None:
    """Raises a ValueError if two runs have predictions for other images, or for other labels."""
    first, second = one.predictions(split), other.predictions(split)
    same_names = is_of_same_images(first, second)
    if same_names and np.array_equal(first.labels, second.labels):
        return
    reason = "the same images with other labels" if same_names else "other images"
    raise ValueError(f"{one.path} and {other.path} cannot be compared: their {split} predictions are for {reason}")


def is_of_same_images(first: RunPredictions, second: RunPredictions) -> bool:
    """Whether two predictions are for the same images in the same order, whichever folder they are named from."""
    if list(first.images) == list(second.images):
        return True
    if first.digest is None or first.digest != second.digest or len(first) != len(second) or not len(first):
        return False
    shorter, longer = sorted((first.images, second.images), key=lambda images: len(images[0]))
    folder = longer[0].removesuffix(shorter[0])
    return all(name == folder + inner for name, inner in zip(longer, shorter, strict=True))


def _count(pairs: list[tuple[ArmRun, ArmRun]], split: str) -> ImagePairs | None:
    """None for a single image, which has no spread."""
    wins: list[tuple[int, int]] = []
    net: dict[str, int] = {}  # by image: seeds may have other validation images
    seen: dict[str, int] = {}
    for one, other in pairs:
        first, second = one.predictions(split), other.predictions(split)
        difference = second.correct.astype(np.int64) - first.correct
        wins.append((int((difference < 0).sum()), int((difference > 0).sum())))
        for image, value in zip(first.images, difference.tolist(), strict=True):
            net[image] = net.get(image, 0) + value
            seen[image] = seen.get(image, 0) + 1
    if len(net) < 2:
        return None
    sums, counts = np.array(list(net.values())), np.array(list(seen.values()))
    return ImagePairs(
        num_images=len(net),
        seeds=tuple(str(one.seed) if one.seed == other.seed else f"{one.seed} and {other.seed}" for one, other in pairs),
        only_first=tuple(first for first, _ in wins),
        only_second=tuple(second for _, second in wins),
        p_by_seed=tuple(mcnemar(*both) for both in wins),
        difference=_interval(sums, counts),
        p=mcnemar_over_seeds(sums),
    )


def _interval(sums: np.ndarray, counts: np.ndarray) -> Interval:
    """The difference of two accuracies, with its 95 % interval over images.

    Two images are added for the interval, one that each arm alone recognises with all its networks. Without them, few
    images that one arm alone recognises give an interval that is too narrow, and none give one without width. Source, for
    one network of each arm: Bonett and Price 2012, "Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data", Journal of Educational and Behavioral Statistics 37.

    Args:
        sums: For each image, networks of the second arm that recognise it, less those of the first, (N,).
        counts: For each image, networks of an arm, (N,).
    """
    value, whole = sums.sum() / counts.sum(), counts.mean()
    sums, counts = np.append(sums, (whole, -whole)), np.append(counts, (whole, whole))
    # Of a ratio of two sums over images: its value in all, and the deviation of each image from it.
    ratio = sums.sum() / counts.sum()
    interval = mean_interval(ratio + (sums - ratio * counts) / counts.mean())
    return replace(interval, value=float(value))
