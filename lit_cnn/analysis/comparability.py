"""Which arms can be compared at all."""

from __future__ import annotations

from collections.abc import Sequence

from lit_cnn.analysis.arms import Arm, ArmRun

# Settings that decide which images are validation images, besides seeds.
DIVISION = ("data.val_fraction", "data.num_folds", "data.fold", "data.group_by", "data.test_fraction")


def check_comparable(arms: Sequence[Arm], split: str) -> None:
    """Refuses arms of other data.

    Args:
        arms: All runs of all arms must have the same images and classes.
        split: The compared split; test images are compared too if it is ``test``.

    Raises:
        ValueError: If data or classes differ; names both runs and what differs.
    """
    runs = [run for arm in arms for run in arm.runs]
    for run in runs[1:]:
        if problem := _find_difference(runs[0], run, split):
            raise ValueError(f"{runs[0].path} and {run.path} cannot be compared: {problem}")
    divided = [setting for setting in DIVISION if setting in arms[0].settings]
    if split == "val" and divided:
        raise ValueError(
            f"the arms have other validation images, because {divided[0]} differs: compare them on the test images "
            f"(--split test)"
        )


def _find_difference(one: ArmRun, other: ArmRun, split: str) -> str | None:
    first, second = one.data["classes"], other.data["classes"]
    if first and second and first != second:
        if sorted(first) == sorted(second):
            return "their classes are in another order"
        only = [name for name in first if name not in second] or [name for name in second if name not in first]
        return f"their classes differ ({len(first)} and {len(second)} classes; only one has {only[0]!r})"
    facts = {"images or their labels": (one.data["digest"], other.data["digest"])}
    if split == "test":
        facts["test images or their labels"] = (one.results.get("test/digest"), other.results.get("test/digest"))
    names = f"{one.data['dataset']} and {other.data['dataset']}"
    for what, (own, given) in facts.items():
        if own and given and own != given:
            return f"their {what} differ ({names}; digests {own[:8]} and {given[:8]})"
    return None
