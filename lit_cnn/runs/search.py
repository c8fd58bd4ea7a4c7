"""Finds runs: by folder, by checkpoint, by identity."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from lit_cnn.runs.folder import DEPTH, REQUIRED, SEED_NAME, Run
from lit_cnn.runs.format import RUN_KEY
from lit_cnn.system.paths import expand


def find_run(path: str | Path, root: str | Path = "runs") -> Run:
    """The run that a user means.

    Args:
        path: A run's folder, the ``config.yaml`` in it, or the word ``latest``: the run below ``root`` that was started
            or resumed last.
        root: Folder of all runs.

    Raises:
        ValueError: If there is no such run, or this version cannot read it.
    """
    if str(path) == "latest":
        runs = list_runs(root)
        if not runs:
            raise ValueError(f"there is no latest run: {root} holds no run yet")
        return Run.open(runs[0].path)
    path = expand(path)
    return Run.open(path.parent if path.name == "config.yaml" and not path.is_dir() else path)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run: it holds the files that each run has."""
    return all((folder / name).is_file() for name in REQUIRED)


def list_runs(root: str | Path) -> list[Run]:
    """All runs below a folder; the one that was started or resumed last comes first.

    Folders that hold no run, or a damaged ``environment.json``, are left out.
    """
    runs: list[tuple[str, float, Run]] = []
    folders = [(expand(root), 0)]
    while folders:
        folder, depth = folders.pop()
        run = Run(folder)
        try:
            if is_run(folder):
                time = str(run.read_environment()["time"])
                runs.append((time, run.environment.stat().st_mtime, run))  # the time is in whole seconds
            elif depth < DEPTH:
                folders += [(path, depth + 1) for path in folder.iterdir() if path.is_dir()]
            elif depth == DEPTH:
                folders += [(path, depth + 1) for path in folder.iterdir() if SEED_NAME.fullmatch(path.name)]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return [run for *_, run in sorted(runs, key=lambda entry: entry[:2], reverse=True)]


def find_by_id(identity: str, candidates: Iterable[Run] = (), root: str | Path = "runs") -> Run | None:
    """The run with an identity, of some candidates, or else below a folder; None if there is none.

    Args:
        identity: See :attr:`Run.id`.
        candidates: Runs; folders that are none are left out.
        root: Folder of all runs.
    """
    for run in candidates:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no run, or a damaged one
            if run.id == identity:
                return run
    return next((run for run in list_runs(root) if run.id == identity), None)


def run_of_checkpoint(checkpoint: str | Path, root: str | Path = "runs", candidates: Iterable[Run] = ()) -> Run | None:
    """The run to which a checkpoint belongs; None if it is not known.

    It is the run in whose folder the file lies, unless the file says that another run saved it. Else it is the run of
    ``candidates`` or below ``root`` that saved it.

    Args:
        checkpoint: The file.
        root: Folder of all runs.
        candidates: Further runs that may have saved it.
    """
    from lit_cnn.runs.checkpoint_file import peek  # imports torch

    path, saved_by = Path(checkpoint), peek(checkpoint).get(RUN_KEY)
    run = Run(path.parent.parent)
    if run.config.is_file() and run.checkpoints.is_dir() and run.checkpoints.samefile(path.parent):
        if run.environment.is_file():
            run.check_format()
        if saved_by is None or run.id in (None, saved_by):
            return run
    above = [Run(folder) for folder in list(path.resolve().parents)[:DEPTH]]
    return find_by_id(saved_by, [*candidates, *above], root) if saved_by else None
