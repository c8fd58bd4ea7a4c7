"""Trains the recipe of a run once for each fold of its images, so that each image is left out once."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

from lit_cnn.analysis.label_errors import known_images
from lit_cnn.analysis.run_images import data_of_fold, read_config
from lit_cnn.commands.arguments import prepare
from lit_cnn.commands.fit import Training, carry_out
from lit_cnn.commands.resuming import RUN_FOLDER
from lit_cnn.commands.study import as_command, telling_how_to_resume
from lit_cnn.data.manifest import FILE_NAME
from lit_cnn.data.sharing import sharing_images
from lit_cnn.errors import OwnValidationError
from lit_cnn.runs.folder import Run
from lit_cnn.runs.monitor import monitor_of
from lit_cnn.runs.results import leaves_batches_out
from lit_cnn.runs.search import is_run
from lit_cnn.system.processes import started_by_a_launcher
from lit_cnn.weights.sources import is_published

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
        ValueError: If a fold of other settings or images lies there, if the recipe or the images do not suit folds, or if a
            launcher has started this process. No fold is trained then.
        TrainingError: If a training diverges.
    """
    if started_by_a_launcher() or RUN_FOLDER in os.environ:
        raise ValueError(
            f"folds are trained one after another: start the command alone, without a launcher and {RUN_FOLDER}"
        )
    runs = [Run(run.path / FOLDER / f"{fold + 1}-of-{number}") for fold in range(number)]
    check_recipe(run)
    for own in runs:
        _check_settings(own, run)
    with sharing_images(), telling_how_to_resume():
        if not all(map(_is_finished, runs)):
            _check_images(run, number)
        for fold, own in enumerate(runs):
            title = f"fold {fold + 1} of {number}"
            if _is_finished(own):
                print(f"{title}: finished already, {own.path}", flush=True)
                continue
            print(f"\n{title}", flush=True)
            _train(own, run.config, number, fold)
    return runs


def _train(own: Run, config: Path, number: int, fold: int) -> None:
    words = ["--run", str(own.path)]
    if not is_run(own.path):
        monitor = monitor_of(read_config(Run(config.parent)))
        words = [f"--config={config}", f"--monitor={monitor}", f"--data.num_folds={number}", f"--data.fold={fold}"]
    with as_command(("fit", *words)):
        training = OfFold(prepare("fit", *words, may_resume_job=False)[1:], own)
        carry_out(training)
        for process in getattr(training.trainer.strategy.launcher, "procs", ()):
            process.wait()
    del training
    gc.collect()  # the network and its images on a GPU


def check_recipe(run: Run) -> None:
    """Refuses a recipe whose folds would not tell label errors.

    Raises:
        ValueError: If its weights may have seen the images, or it keeps no predictions of all validation images.
    """
    config = read_config(run)
    if weights := own_weights(run):
        raise ValueError(
            f"{run.path} started from {weights}, which may have been trained on the images of the folds: "
            "name a run that started from random weights or from torchvision's"
        )
    trainer = config.get("trainer") or {}
    limit, overfit = trainer.get("limit_val_batches"), trainer.get("overfit_batches")
    if leaves_batches_out(limit):
        raise ValueError(f"{run.path} has trainer.limit_val_batches={limit}: folds need answers for all validation images")
    if overfit:
        raise ValueError(f"{run.path} has trainer.overfit_batches={overfit}: folds need trainings on all images")
    if trainer.get("enable_checkpointing") is False:
        raise ValueError(
            f"{run.path} has trainer.enable_checkpointing=false and keeps no predictions: name a run that saves"
        )
    every, epochs = trainer.get("check_val_every_n_epoch"), trainer.get("max_epochs")
    if every and epochs and 0 < epochs < every:
        raise ValueError(f"{run.path} validates every {every} epochs and trains {epochs}: name a run that validates")


def own_weights(run: Run) -> str | None:
    """The weights that a run started from, if they are of a run or a file; None for random ones and torchvision's."""
    arguments = (read_config(run).get("model") or {}).get("init_args") or {}
    weights, variant = arguments.get("weights"), arguments.get("variant")
    return None if weights is None or is_published(str(weights), variant) else str(weights)


def _is_finished(own: Run) -> bool:
    return "seconds" in own.read_results()


def _check_settings(own: Run, run: Run) -> None:
    """Refuses a fold that was trained with other settings or images than the run."""
    if not is_run(own.path):
        return
    if _settings_of(own) != _settings_of(run):
        raise ValueError(f"{own.path} was trained with other settings than {run.path}: remove it, to train it anew")
    if (own.path / FILE_NAME).is_file() and known_images(own)[0] != known_images(run)[0]:
        raise ValueError(f"the images of {own.path} are not those of {run.path}: remove it, to train it anew")


def _check_images(run: Run, number: int) -> None:
    """Refuses images that cannot be divided into folds, or that are not those of the run any more."""
    module = data_of_fold(run, number, 0)
    try:
        digest = module.digest
    except OwnValidationError as error:
        raise ValueError(
            f"the images of {run.path} have a validation set of their own, and folds are drawn from training images: "
            "move its images into the training images, and train a run on them"
        ) from error
    except (OSError, RuntimeError) as error:  # as torchvision names missing files
        raise ValueError(f"the images of {module.name} are not there ({' '.join(str(error).split())})") from error
    if digest != known_images(run)[0]:
        raise ValueError(f"{module.name} has other images now than {run.path}: train a run on them, and name it")


def _settings_of(run: Run) -> dict[str, Any]:
    config = read_config(run)
    data, trainer = dict(config.get("data") or {}), config.get("trainer") or {}
    arguments = dict(data.get("init_args") or {})
    data["init_args"] = {name: value for name, value in arguments.items() if name not in OF_A_FOLD}
    lengths = {name: trainer.get(name) for name in LENGTHS}
    return {"seed": config.get("seed_everything"), "model": config.get("model"), "data": data, **lengths}
