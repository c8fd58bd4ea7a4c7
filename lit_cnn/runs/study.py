"""A study: a folder of runs that differ in the seed alone, with the seeds that are wanted of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lit_cnn.runs.folder import SEED_NAME, STUDY, Run
from lit_cnn.runs.search import is_run
from lit_cnn.system.json_files import read_object, write_object


def runs_of_study(folder: Path) -> list[Run]:
    """The runs of the seeds of a study that there are."""
    return [Run(path) for path in sorted(folder.glob("seed-*")) if SEED_NAME.fullmatch(path.name) and is_run(path)]


def wanted_seeds(folder: Path) -> list[int]:
    """The seeds of a study, in order: those in its ``study.json``, and those of its runs.

    Raises:
        ValueError: If the file is damaged.
    """
    path = folder / STUDY
    seeds = {int(run.path.name.removeprefix("seed-")) for run in runs_of_study(folder)}
    if path.is_file():
        kept = read_object(path).get("seeds")
        if not isinstance(kept, list) or not all(type(seed) is int and seed >= 0 for seed in kept):
            raise ValueError(f"{path} is damaged: it holds no list of seeds")
        seeds |= set(kept)
    return sorted(seeds)


def add_wanted_seeds(folder: Path, seeds: Iterable[int]) -> None:
    """Enters seeds into the ``study.json`` of a study, which is made if it does not exist.

    Raises:
        OSError: If it cannot be written.
        ValueError: If it is damaged.
    """
    path = folder / STUDY
    wanted = sorted({*wanted_seeds(folder), *seeds})
    if not path.is_file() or wanted != read_object(path)["seeds"]:
        write_object(path, {"seeds": wanted})
