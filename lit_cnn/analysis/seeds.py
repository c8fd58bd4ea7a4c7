"""The seeds of runs, and how they vary over the runs of an arm."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

# The settings that are seeds. Runs of an arm may differ in them.
SEED_SETTINGS = ("seed_everything", "data.seed", "data.augmentation_seed", "data.split_seed")
# How a setting is shown that is another in each run.
VARIED = "varied"


class Seed(NamedTuple):
    """The seeds of a run, each as it took effect."""

    initialisation: int
    order: int
    augmentation: int
    split: int

    def __str__(self) -> str:
        return str(self.order) if len(set(self)) == 1 else "/".join(map(str, self))


def seed_of(settings: Mapping[str, Any]) -> Seed:
    """The seeds that took effect.

    Args:
        settings: Content of ``config.yaml``.
    """
    given = _given(settings)
    first = given["seed_everything"] or 0
    order = _either(given["data.seed"], first)
    return Seed(first, order, *(_either(given[name], order) for name in ("data.augmentation_seed", "data.split_seed")))


def describe_pattern(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """For each seed setting of the data ``null``, the value of all runs, or ``varied``.

    A value that the run would have without it counts as null.

    Args:
        runs: Settings of each run of an arm.
    """
    pattern = {}
    for setting in SEED_SETTINGS[1:]:
        values = [_given(settings)[setting] for settings in runs]
        redundant = [seed_of(_without(settings, setting)) == seed_of(settings) for settings in runs]
        pattern[setting] = "null" if all(redundant) else str(values[0]) if len(set(values)) == 1 else VARIED
    return pattern


def fixed_sources(seeds: Collection[Seed]) -> tuple[str, ...]:
    """The sources of chance that were the same in all of several runs, such as ``order``."""
    columns = zip(Seed._fields, zip(*seeds, strict=True), strict=False)
    return tuple(source for source, column in columns if len(column) > 1 and len(set(column)) == 1)


def vary_together(seeds: Collection[Seed]) -> bool:
    """Whether each source of chance is another one in each run, or the same one in all: then runs are independent.

    Runs that share one seed with some runs, and another seed with others, are not.
    """
    return all(len(set(column)) in (1, len(column)) for column in zip(*seeds, strict=True))


def _given(settings: Mapping[str, Any]) -> dict[str, int | None]:
    data = (settings.get("data") or {}).get("init_args") or {}
    given = {name: data.get(name.rpartition(".")[2]) for name in SEED_SETTINGS[1:]}
    values = {SEED_SETTINGS[0]: settings.get(SEED_SETTINGS[0]), **given}
    return {name: None if value is None else int(value) for name, value in values.items()}


def _either(value: int | None, default: int) -> int:
    return default if value is None else value


def _without(settings: Mapping[str, Any], setting: str) -> dict[str, Any]:
    data = settings.get("data") or {}
    arguments = {**(data.get("init_args") or {}), setting.rpartition(".")[2]: None}
    return {**settings, "data": {**data, "init_args": arguments}}
