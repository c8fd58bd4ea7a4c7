"""Arms of a comparison: runs that differ in the seed alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from lit_cnn.analysis.arm_runs import ArmRun, read_run
from lit_cnn.analysis.seeds import SEED_SETTINGS, Seed, describe_pattern
from lit_cnn.runs.folder import Run
from lit_cnn.runs.identity import Change, Rule, find_changes
from lit_cnn.runs.search import find_run, list_runs
from lit_cnn.runs.study import wanted_seeds
from lit_cnn.system.paths import expand
from lit_cnn.system.text import shorten

# What a run is called if nobody named it: by time, by a digest of its settings, by its seed.
AUTOMATIC_NAME = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}|seeds-[0-9a-f]{8}|seed-\d+")
# Settings whose values need no name beside them.
SELF_EXPLAINING = ("model", "data", "model.variant")
# Columns of a setting's value in a name.
MAX_WIDTH = 40
# With more differing settings, an arm without a name of its own is called by its folder.
MAX_SETTINGS_IN_NAME = 2


@dataclass(frozen=True)
class Arm:
    """Runs that differ in the seed alone.

    Args:
        name: The shortest that tells it from the other arms.
        path: The folder that was named.
        runs: In the order of their seeds.
        settings: Values of the settings in which the compared arms differ, by the setting's name.
    """

    name: str
    path: Path
    runs: tuple[ArmRun, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by_seed(self) -> dict[Seed, ArmRun]:
        return {run.seed: run for run in self.runs}


def read_arms(paths: Iterable[str | Path]) -> list[Arm]:
    """Reads the arms of a comparison and names them.

    Args:
        paths: Of each arm a run, a folder of runs that differ in the seed alone, or ``latest``.

    Raises:
        ValueError: If a folder is no arm, if a run is unfinished, or if two arms have a run in common.
    """
    arms = [read_arm(path) for path in paths]
    for one, other in combinations(arms, 2):
        shared = {run.path.resolve() for run in one.runs} & {run.path.resolve() for run in other.runs}
        if shared:
            raise ValueError(f"{one.path} and {other.path} both hold the run {min(shared)}: name other arms")
    settings = _differing_settings(arms)
    arms = [replace(arm, settings=own) for arm, own in zip(arms, settings, strict=True)]
    return [replace(arm, name=name) for arm, name in zip(arms, _names(arms), strict=True)]


def read_arm(path: str | Path) -> Arm:
    """Reads an arm, which is named by its folder.

    Raises:
        ValueError: See :func:`read_arms`.
    """
    folder = expand(path)
    if str(path) == "latest" or (folder / "config.yaml").is_file() or folder.name == "config.yaml":
        run = find_run(path)
        return Arm(run.path.name, run.path, (read_run(run),))
    if not folder.is_dir():
        problem = "it is a file" if folder.exists() else "it does not exist"
        raise ValueError(f"{path} is neither a run nor a folder of runs: {problem}; lit-cnn runs lists the runs")
    found = list_runs(folder)
    if not found:
        raise ValueError(f"{path} holds no run: name a run, or a folder of runs; lit-cnn runs lists them")
    _check_nothing_is_missing(found)
    runs = sorted((read_run(run) for run in found), key=lambda run: (run.seed, str(run.path)))
    _check_seeds_alone_differ(folder, runs)
    return Arm(folder.resolve().name, folder, tuple(runs))


def changed_settings(one: ArmRun, other: ArmRun) -> list[Change]:
    """The settings in which two runs differ, without seeds and without what cannot change the training."""
    changes = find_changes(one.settings, other.settings)
    return [change for change in changes if change.rule is not Rule.FREE and change.setting not in SEED_SETTINGS]


def _check_nothing_is_missing(found: Sequence[Run]) -> None:
    """Raises a ValueError if beside the runs there is one that cannot be read: a seed must not be left out in silence."""
    known = {run.path for run in found}
    for parent in sorted({path.parent for path in known}):
        for folder in sorted(parent.iterdir()):
            if folder not in known and (folder / "config.yaml").is_file():
                Run.open(folder)  # names what is wrong with it
                raise ValueError(f"{folder / 'environment.json'} is damaged: remove the run, or train it again")
        wanted = [Run(parent / f"seed-{seed}").path for seed in wanted_seeds(parent)]
        if missing := [folder.name for folder in wanted if folder not in known]:
            raise ValueError(f"{parent} lacks {missing[0]} of its study: repeat the fit command that began it")


def _check_seeds_alone_differ(folder: Path, runs: Sequence[ArmRun]) -> None:
    groups: list[list[ArmRun]] = []
    settings: dict[str, None] = {}
    for run in runs:
        for group in groups:
            changes = changed_settings(group[0], run)
            settings |= dict.fromkeys(change.setting for change in changes)
            if not changes:
                group.append(run)
                break
        else:
            groups.append([run])
    if len(groups) > 1:
        from lit_cnn.data.manifest import first  # imports torch

        arms = first(_folder_of(group, runs, folder) for group in groups)
        raise ValueError(f"{folder} is no arm: its runs differ in {first(settings)}; compare {arms}")
    for one, other in pairwise(runs):
        if one.seed == other.seed:
            raise ValueError(f"{folder} holds two runs of seed {one.seed}, {one.path} and {other.path}: keep one in it")


def _folder_of(group: Sequence[ArmRun], runs: Sequence[ArmRun], folder: Path) -> str:
    """The highest folder below the arm's that holds these runs and no other; else one of them."""
    own = {run.path for run in group}
    for parent in reversed(group[0].path.parents):
        if parent.is_relative_to(folder) and own == {run.path for run in runs if run.path.is_relative_to(parent)}:
            return str(parent)
    return str(group[0].path)


# Names


def _differing_settings(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """For each arm its values of all settings in which arms differ."""
    first = arms[0].runs[0]
    changes = [{change.setting: change for change in changed_settings(first, arm.runs[0])} for arm in arms]
    own = {change.setting: change.own for of_arm in changes for change in of_arm.values()}
    patterns = [describe_pattern([run.settings for run in arm.runs]) for arm in arms]
    seeds = [setting for setting in patterns[0] if len({pattern[setting] for pattern in patterns}) > 1]
    return [
        {
            **own,
            **{setting: change.given for setting, change in of_arm.items()},
            **{setting: pattern[setting] for setting in seeds},
        }
        for of_arm, pattern in zip(changes, patterns, strict=True)
    ]


def _names(arms: Sequence[Arm]) -> list[str]:
    parts = [arm.path.resolve().parts for arm in arms]
    tails = []
    for own in parts:
        lengths = range(1, len(own) + 1)
        unique = (own[-length:] for length in lengths if sum(other[-length:] == own[-length:] for other in parts) == 1)
        tails.append("/".join(next(unique, own)))
    if any(AUTOMATIC_NAME.fullmatch(tail.rpartition("/")[2]) for tail in tails):
        described = [describe_settings(arm.settings) for arm in arms]
        few = all(len(arm.settings) <= MAX_SETTINGS_IN_NAME for arm in arms)
        if few and max(Counter(described).values()) == 1:
            return described
    return tails


def describe_settings(settings: Mapping[str, Any]) -> str:
    """Settings with their values in a few words: ``resnet18``, ``lr=0.1``."""
    titles = {name: "" if name in SELF_EXPLAINING else f"{name.rpartition('.')[2]}=" for name in settings}
    return ", ".join(titles[name] + show_value(value) for name, value in settings.items())


def show_value(value: Any) -> str:
    """The value of a setting as it is typed, its middle left out if it is long."""
    return "null" if value is None else shorten(str(value), MAX_WIDTH)
