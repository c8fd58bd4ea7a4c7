"""Which arms can be compared at all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from lit_cnn.analysis.arm_runs import ArmRun
from lit_cnn.analysis.arms import Arm
from lit_cnn.analysis.images import check_same_images, find_problem

# Settings that decide which images are validation images, besides seeds.
DIVISION = (
    "data.val_fraction",
    "data.num_folds",
    "data.fold",
    "data.group_by",
    "data.test_fraction",
    "data.manifest",
    "trainer.limit_val_batches",
)
# Of these, one that may give other arms the same images: the division of one run for another one.
MANIFEST = "data.manifest"


def check_comparable(arms: Sequence[Arm], split: str) -> list[str]:
    """Refuses arms of other data.

    Args:
        arms: All runs of all arms must have the same images and classes.
        split: The compared split; test images are compared too if it is ``test``.

    Returns:
        What could not be checked, or should be known.

    Raises:
        ValueError: If data or classes differ; names both runs and what differs.
    """
    runs = [run for arm in arms for run in arm.runs]
    for run in runs[1:]:
        if problem := _find_difference(runs[0], run, split):
            raise ValueError(f"{runs[0].path} and {run.path} cannot be compared: {problem}")
    notes = [note for note in [_note_unknown(runs, split)] if note]
    if split == "val":
        notes += _check_division(arms)
    for one, other in combinations(arms, 2):
        for run in one.runs:
            same = other.by_seed.get(run.seed)
            if same and split == "val":
                _check_number(run, same)
            if same and not (find_problem(run, split) or find_problem(same, split)):
                check_same_images(run, same, split)
    return notes


def _check_number(one: ArmRun, other: ArmRun) -> None:
    """Raises a ValueError if two runs were validated with other numbers of images of the same set."""
    numbers = [run.results.get("val/images") for run in (one, other)]
    if None not in numbers and numbers[0] != numbers[1]:
        raise ValueError(
            f"{one.path} and {other.path} cannot be compared: they were validated with {numbers[0]:,} and {numbers[1]:,} "
            f"images; validate all runs with lit-cnn validate --run RUN --trainer.limit_val_batches 1.0"
        )


def _check_division(arms: Sequence[Arm]) -> list[str]:
    for setting in DIVISION:
        if setting in arms[0].settings and not (setting == MANIFEST and _have_predictions_of_same_seeds(arms)):
            raise ValueError(
                f"the arms have other validation images, because {setting} differs: compare them on the test images "
                f"(--split test)"
            )
    first, *others = [{run.seed.split for run in arm.runs} for arm in arms]
    if all(seeds == first for seeds in others):
        return []
    return ["the arms have other validation images, because the seeds of their splits differ"]


def _have_predictions_of_same_seeds(arms: Sequence[Arm]) -> bool:
    """Whether it can be checked that the images are the same."""
    if any(set(arm.by_seed) != set(arms[0].by_seed) for arm in arms):
        return False
    return not any(find_problem(run, "val") for arm in arms for run in arm.runs)


def _find_difference(one: ArmRun, other: ArmRun, split: str) -> str | None:
    first, second = one.data["classes"], other.data["classes"]
    if first and second and first != second:
        if sorted(first) == sorted(second):
            return "their classes are in another order"
        only = [name for name in first if name not in second] or [name for name in second if name not in first]
        return f"their classes differ ({len(first)} and {len(second)} classes; only one has {only[0]!r})"
    names = f"{one.dataset} and {other.dataset}"
    for what, (own, given) in _digests(one, other, split).items():
        if own and given and own != given:
            return f"their {what} differ ({names}; digests {own[:8]} and {given[:8]})"
        if not (own and given) and one.dataset != other.dataset:
            return f"their datasets differ ({names})"
    return None


def _note_unknown(runs: Sequence[ArmRun], split: str) -> str:
    unknown = {what for run in runs for what, (own, _) in _digests(run, run, split).items() if not own}
    if not unknown:
        return ""
    run = next(run for run in runs if not all(own for own, _ in _digests(run, run, split).values()))
    return f"{run.path} has no digest of its {min(unknown)}: the name of the dataset alone tells that they are the same"


def _digests(one: ArmRun, other: ArmRun, split: str) -> dict[str, tuple[str | None, str | None]]:
    """What is compared of two runs."""
    digests = {"images or their labels": (one.data["digest"], other.data["digest"])}
    if split == "test":
        digests["test images or their labels"] = (one.results.get("test/digest"), other.results.get("test/digest"))
    return digests
