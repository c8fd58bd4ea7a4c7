"""Trains the recipe of a run once for each fold of its images, so that each image is left out once."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

from lit_cnn.analysis.run_images import read_config
from lit_cnn.commands.arguments import prepare
from lit_cnn.commands.fit import Training, carry_out
from lit_cnn.commands.resuming import RUN_FOLDER
from lit_cnn.commands.study import as_command, telling_how_to_resume
from lit_cnn.data.sharing import sharing_images
from lit_cnn.runs.folder import Run
from lit_cnn.runs.search import is_run
from lit_cnn.system.processes import started_by_a_launcher

# Folder of the folds in the folder of a run.
FOLDER = "folds"
# Settings in which the folds differ from the run, and from each other.
OF_A_FOLD = ("num_folds", "fold")
LENGTHS = ("max_epochs", "max_steps")


class OfFold(Training):
    """The training of one fold.

    Args:
        arguments: Its options.
        place: The run.
    """

    finds_its_folder = True

    def __init__(self, arguments: list[str], place: Run) -> None:
        self._fold_run = place
        super().__init__(arguments)

    def _make_folder(self) -> Run:
        self._fold_run.path.mkdir(parents=True, exist_ok=True)  # a killed process may have made it
        return self._fold_run

    def _print_how_to_resume(self) -> None:
        """The command that trains all folds does it."""


def train_folds(run: Run, number: int) -> list[Run]:
    """Trains a run for each fold; skips those that are finished, and resumes those that were stopped.

    They lie in the folder of the run. None of them looks at test images.

    Args:
        run: Whose recipe and images they have.
        number: Number of folds.

    Raises:
        ValueError: If a fold of other settings lies there, or a launcher has started this process.
        TrainingError: If a training diverges.
    """
    if started_by_a_launcher() or RUN_FOLDER in os.environ:
        raise ValueError(
            f"folds are trained one after another: start the command alone, without a launcher and {RUN_FOLDER}"
        )
    runs = [Run(run.path / FOLDER / f"{fold + 1}-of-{number}") for fold in range(number)]
    for own in runs:
        _check_settings(own, run)
    with sharing_images(), telling_how_to_resume():
        for fold, own in enumerate(runs):
            title = f"fold {fold + 1} of {number}"
            if "seconds" in own.read_results():
                print(f"{title}: finished already, {own.path}", flush=True)
                continue
            print(f"\n{title}", flush=True)
            _train(own, run.config, number, fold)
    return runs


def _train(own: Run, config: Path, number: int, fold: int) -> None:
    words = ["--run", str(own.path)]
    if not is_run(own.path):
        words = [f"--config={config}", f"--data.num_folds={number}", f"--data.fold={fold}"]
    with as_command(("fit", *words)):
        training = OfFold(prepare("fit", *words)[1:], own)
        carry_out(training)
        for process in getattr(training.trainer.strategy.launcher, "procs", ()):
            process.wait()
    del training
    gc.collect()  # the network and its images on a GPU


def _check_settings(own: Run, run: Run) -> None:
    """Refuses a fold that was trained with other settings than the run."""
    if is_run(own.path) and _settings_of(own) != _settings_of(run):
        raise ValueError(f"{own.path} was trained with other settings than {run.path}: remove it, to train it anew")


def _settings_of(run: Run) -> dict[str, Any]:
    config = read_config(run)
    data, trainer = dict(config.get("data") or {}), config.get("trainer") or {}
    arguments = dict(data.get("init_args") or {})
    data["init_args"] = {name: value for name, value in arguments.items() if name not in OF_A_FOLD}
    lengths = {name: trainer.get(name) for name in LENGTHS}
    return {"seed": config.get("seed_everything"), "model": config.get("model"), "data": data, **lengths}
