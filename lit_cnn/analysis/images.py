"""Arms compared image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lit_cnn.analysis.arms import Arm, ArmRun
from lit_cnn.analysis.mcnemar import mcnemar, mcnemar_over_seeds
from lit_cnn.analysis.statistics import Interval, mean_interval

# An accuracy of predictions may differ from the one that was measured by rounding.
ROUNDING = 1e-5


@dataclass(frozen=True)
class ImagePairs:
    """How two arms differ on the same images, with the networks that there are.

    Several networks of an arm do not make more images: each image counts once, with the net number of seeds of which the
    second arm recognised it and the first did not. See :func:`~lit_cnn.analysis.statistics.mcnemar_over_seeds`.

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

    Two single runs are compared also if their seeds differ, unless they have other validation images.

    Args:
        one: The first arm.
        other: The second.
        split: ``test`` or ``val``.

    Returns:
        The comparison, or None and the reason why there is none.

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
    if problem:
        return None, f"{one.name} and {other.name} are not compared by image: {problem}"
    problems = [problem for run in dict.fromkeys(run for pair in pairs for run in pair) if (problem := _problem(run, split))]
    if problems:
        of_all = f", likewise for all {len(problems)} such runs" if len(problems) > 1 else ""
        return None, f"{one.name} and {other.name} are not compared by image: {problems[0]}{of_all}"
    return _count(pairs, split), ""


def _problem(run: ArmRun, split: str) -> str:
    """Why a run has no predictions that can be used, and the command that writes them; empty if it has."""
    try:
        predictions = run.predictions(split)
    except ValueError as error:  # missing or damaged
        return str(error)
    accuracy = run.value(split, "acc")
    if accuracy is None or abs(float(predictions.correct.mean()) - accuracy) <= ROUNDING:
        return ""
    command = f"lit-cnn {'test' if split == 'test' else 'validate'} --run {run.path}"
    return f"the {split} predictions of {run.path} are of another evaluation than its results: write them with {command}"


def check_same_images(one: ArmRun, other: ArmRun, split: str) -> None:
    """Raises a ValueError if two runs have predictions for other images, or for other labels."""
    first, second = one.predictions(split), other.predictions(split)
    same_names = list(first.images) == list(second.images)
    if same_names and np.array_equal(first.labels, second.labels):
        return
    reason = "the same images with other labels" if same_names else "other images"
    raise ValueError(f"{one.path} and {other.path} cannot be compared: their {split} predictions are for {reason}")


def _count(pairs: list[tuple[ArmRun, ArmRun]], split: str) -> ImagePairs:
    wins: list[tuple[int, int]] = []
    net: dict[str, int] = {}  # by image: seeds may have other validation images
    seen: dict[str, int] = {}
    for one, other in pairs:
        check_same_images(one, other, split)
        first, second = one.predictions(split), other.predictions(split)
        difference = second.correct.astype(np.int64) - first.correct
        wins.append((int((difference < 0).sum()), int((difference > 0).sum())))
        for image, value in zip(first.images, difference.tolist(), strict=True):
            net[image] = net.get(image, 0) + value
            seen[image] = seen.get(image, 0) + 1
    sums, counts = np.array(list(net.values())), np.array(list(seen.values()))
    # Of a ratio of two sums over images: its value in all, and the deviation of each image from it.
    ratio = sums.sum() / counts.sum()
    return ImagePairs(
        num_images=len(net),
        seeds=tuple(str(one.seed) if one.seed == other.seed else f"{one.seed} and {other.seed}" for one, other in pairs),
        only_first=tuple(first for first, _ in wins),
        only_second=tuple(second for _, second in wins),
        p_by_seed=tuple(mcnemar(*both) for both in wins),
        difference=mean_interval(ratio + (sums - ratio * counts) / counts.mean()),
        p=mcnemar_over_seeds(sums),
    )
