"""Trials before a training, on a copy of its network: which learning rate, and how long an epoch takes."""

from __future__ import annotations

import copy
import math
import os
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.seed import isolate_rng

from lit_cnn.commands import configuration
from lit_cnn.commands.cli import CLI
from lit_cnn.commands.lengths import check_lengths, read_duration
from lit_cnn.commands.resuming import RUN_FOLDER, warn
from lit_cnn.commands.selection import make_average
from lit_cnn.commands.trainer_options import as_list
from lit_cnn.commands.trial_options import read_time_limit
from lit_cnn.data.manifest import count
from lit_cnn.errors import TrainingError
from lit_cnn.runs.folder import Run
from lit_cnn.system.paths import expand
from lit_cnn.training.callbacks.checkpointing import Best, Last
from lit_cnn.training.callbacks.finders import FINDER_NAMES
from lit_cnn.training.callbacks.interrupts import Interrupts
from lit_cnn.training.callbacks.looks import LookRecorder
from lit_cnn.training.callbacks.record import Recorder
from lit_cnn.training.callbacks.speed_trial import SpeedTrial, validations_per_epoch
from lit_cnn.training.range_test import RangeTest, suggest_rate

# Seconds that the speed is measured at most.
MOST_SECONDS = 5.0
# Share of a time limit that is planned: processors are not equally fast all the time.
SHARE = 0.95
# Ends, lengths and looks of the training that a trial does not have.
_WITHOUT = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "max_epochs": -1,
    "max_steps": -1,
    "max_time": None,
    "min_epochs": None,
    "min_steps": None,
    "check_val_every_n_epoch": 1,
    "val_check_interval": None,
    "num_sanity_val_steps": 0,
}


def try_out(cli: CLI, name: str, callbacks: list[Callback], **settings: Any) -> Trainer:
    """Trains a copy of a command's network with the command's settings, and leaves network and random numbers as they are.

    What ``freeze`` freezes stays frozen, also with ``unfreeze_at``: a trial is of the beginning of the training.

    Args:
        cli: The command. Its data are read, and keep what they have read.
        name: The option that asks for the trial, for messages.
        callbacks: What decides about the trial, in place of the user's.
        settings: Of the Trainer.

    Raises:
        ValueError: If the training would have several processes, or only a few batches.
        TrainingError: If the loss is not finite.
    """
    if cli.config.trainer.fast_dev_run:
        raise ValueError(f"fast_dev_run trains a few batches, too few for {name}: leave one of them out")
    trainer = cli.make_trainer([*callbacks, Interrupts(last=None)], with_own=False, **(_WITHOUT | settings))
    if trainer.world_size > 1:
        other = "set --trainer.devices 1, or give a number"
        raise ValueError(f"{name} tries one process, and this training has {trainer.world_size}: {other}")
    if left_out := _own_callbacks(cli):
        warn(f"{name} measures without your callbacks: {', '.join(left_out)}")
    network = copy.deepcopy(cli.model)
    network.hparams["unfreeze_at"] = None
    with isolate_rng():
        trainer.fit(network, datamodule=cli.datamodule)
    return trainer


def try_range(cli: CLI, name: str, min_lr: float = 1e-6, max_lr: float = 10.0, num_steps: int = 100) -> RangeTest:
    """The learning-rate range test of a command's training.

    Args:
        cli: The command.
        name: The option or command that asks for it, for messages.
        min_lr: Rate of the first step.
        max_lr: Rate of the last step.
        num_steps: Number of steps; fewer if the loss rises before.

    Raises:
        ValueError: See :func:`try_out`.
    """
    found = RangeTest(min_lr, max_lr, num_steps)
    try:
        try_out(cli, name, [found], max_steps=num_steps, limit_val_batches=0)
    except TrainingError:
        if not any(map(math.isfinite, found.losses)):
            raise
        # A rate so high that the loss overflows ends the test as one that rises does. On a processor, the step of that loss
        # was not finished.
        if math.isfinite(found.losses[-1]):
            found.losses.append(math.nan)
    return found


def find_rate(cli: CLI) -> float:
    """The rate of ``--lr auto``.

    Raises:
        ValueError: See :func:`try_out`; also if the test shows no rate.
    """
    found = try_range(cli, "--lr auto")
    try:
        return suggest_rate(found.rates, found.losses)
    except ValueError as error:
        raise ValueError("--lr auto finds no rate: run lit-cnn find-lr over other rates, and give --model.lr") from error


def measure_speed(cli: CLI, limit: float) -> tuple[SpeedTrial, float]:
    """The time of a command's epochs, with a run's checkpoints; and images per second.

    The checkpoints are written to a folder that is removed, on the disk of the runs.

    Args:
        cli: The command.
        limit: Seconds that the training may take. The trial takes a twentieth of them, at most five.

    Raises:
        ValueError: See :func:`try_out`.
        TrainingError: See :func:`try_out`.
    """
    trial = SpeedTrial(min(MOST_SECONDS, limit / 20))
    runs = expand(os.environ.get(RUN_FOLDER) or cli.config.runs_dir).absolute()
    place = next(folder for folder in (runs, *runs.parents) if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".lit_cnn_trial_", dir=place) as folder:
        run = Run(folder)
        saves = cli.config_init.trainer.enable_checkpointing is not False
        recorder = Recorder(run)
        last = Last(run)
        savers = [Best(run, cli.config.monitor), last] if saves else []
        callbacks = [*make_average(cli.config), recorder, LookRecorder(run), *savers, trial]
        # Not endless: schedules need a length. It is never reached.
        settings = {"max_epochs": 10**6, "default_root_dir": folder, "enable_checkpointing": saves}
        trainer = try_out(cli, "--time_limit", callbacks, **settings)
        if saves and not trial.has_whole_epoch:
            began = time.perf_counter()
            last.save(trainer)
            trial.saving_seconds = 2 * (time.perf_counter() - began)  # the best one too, which is smaller
    return trial, recorder.images / recorder.seconds


def fit_into(cli: CLI, text: str) -> tuple[int, str]:
    """The number of epochs that fit into a time limit, and a line about it.

    Args:
        cli: The command.
        text: The limit, as typed.

    Raises:
        ValueError: If not one epoch fits.
    """
    trainer, limit = cli.config.trainer, read_time_limit(text)
    trial, speed = measure_speed(cli, limit)
    interval = trainer.val_check_interval
    if isinstance(interval, str | Mapping):
        interval = read_duration(interval, "trainer.val_check_interval")
    validations = validations_per_epoch(
        interval, trainer.check_val_every_n_epoch, trial.num_epoch_batches, trial.training_seconds
    )
    epoch = trial.epoch_seconds(validations)
    epochs = int(SHARE * limit / epoch)
    if epochs < 1:
        least = f"give at least {math.ceil(epoch / SHARE):,}s"
        raise ValueError(f"--time_limit {text} is too short: one epoch takes about {epoch:,.1f} s; {least}")
    return epochs, f"time limit {text}: {count(epochs, 'epoch')} at {speed:,.0f} images/s"


def check_time_limit(cli: CLI) -> None:
    """Refuses ``--time_limit`` in a training whose length or speed it cannot plan.

    Raises:
        ValueError: If the settings give the training another end, or parts of it take longer than those that are measured.
    """
    for name, none in (("max_steps", -1), ("max_time", None), ("min_epochs", None), ("min_steps", None)):
        if cli.config.trainer[name] != none:
            raise ValueError(f"trainer.{name} stands in the configuration and sets the length too: leave out --time_limit")
    if cli.model.hparams["unfreeze_at"] is not None:
        raise ValueError(
            "--time_limit measures the frozen network, and unfreeze_at makes later epochs slower: "
            "give --trainer.max_epochs instead of --time_limit"
        )
    if cli.config.diagnose is not None:
        raise ValueError("--time_limit does not measure the steps that --diagnose adds: leave one of them out")


def answer_options(cli: CLI) -> list[str]:
    """Puts what ``--lr auto`` and ``--time_limit`` find in the place of the settings that they stand for.

    A run with the same numbers has the same weights.

    Returns:
        A line about each.

    Raises:
        ValueError: If there is no answer.
        TrainingError: If the loss is not finite.
    """
    lines: list[str] = []
    config, trainer = cli.config, cli.config.trainer
    finder = next((name for name in _own_callbacks(cli) if name in FINDER_NAMES), None)
    if finder and (config.lr or config.time_limit):
        option = "--lr auto" if config.lr else "--time_limit"
        raise ValueError(f"{finder} would change what {option} has measured: leave one of them out")
    if config.time_limit:
        check_time_limit(cli)
    if config.lr:
        rate = find_rate(cli)
        config.model.init_args.lr = cli.model.hparams["lr"] = rate
        lines.append(f"--lr auto: learning rate {rate:g}, by the range test of lit-cnn find-lr")
    if config.time_limit:
        epochs, line = fit_into(cli, config.time_limit)
        trainer.max_epochs = cli.config_init.trainer.max_epochs = epochs
        check_lengths(configuration.describe(config)["trainer"], "fit")
        lines.append(line)
    return lines


def _own_callbacks(cli: CLI) -> list[str]:
    """Names of the callbacks that the user gives."""
    return [one.class_path.rpartition(".")[2] for one in as_list(cli.config.trainer.callbacks)]
