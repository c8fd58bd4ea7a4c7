"""``--ema``, ``--monitor``, ``--early_stopping``: which weights of a training are kept as the best, and when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning.callbacks import Callback, EarlyStopping

from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.resuming import warn
from lit_cnn.commands.trainer_options import AVERAGING, as_list
from lit_cnn.runs.monitor import DEFAULT_MONITOR, MONITORS, choose_monitor
from lit_cnn.training.callbacks.averaging import EMA, check_averaged_precision, check_decay
from lit_cnn.training.callbacks.interrupts import SAVE_EVERY_MINUTES


def add_selection_options(parser: ArgumentParser) -> None:
    """Adds the options to the parser of a command."""
    add = parser.add_argument
    add("--ema", type=float | None, default=None, help="Average the weights with this decay, such as 0.999, and keep those.")
    monitor = Literal[(DEFAULT_MONITOR, *MONITORS)]
    add("--monitor", type=monitor, default=DEFAULT_MONITOR, help="What the best checkpoint is judged by.")
    add(
        "--early_stopping",
        type=int | None,
        default=None,
        help="Stop after so many validations in which the monitored metric did not improve.",
    )


def check_selection(settings: Mapping[str, Any], resumes: bool) -> None:
    """Refuses what no training can do, or what would do nothing in it.

    Args:
        settings: All settings of ``fit``, as plain values.
        resumes: Whether a run is resumed, whose settings were accepted when it began.

    Raises:
        ValueError: At the first setting; says what to do.
    """
    ema, monitor, patience = settings["ema"], settings["monitor"], settings["early_stopping"]
    trainer = settings["trainer"]
    if ema is not None:
        check_decay(ema)
        check_averaged_precision(str(trainer["precision"]))
        names = [str(one.get("class_path")).rpartition(".")[2] for one in as_list(trainer["callbacks"])]
        if other := next((name for name in names if name in AVERAGING), None):
            raise ValueError(f"--ema and {other} of trainer.callbacks both average the weights; give one of them")
    if patience is not None and patience < 1:
        raise ValueError(f"early_stopping must be at least 1, got {patience}; leave it out to train to the end")
    if patience is not None and monitor == "last":
        raise ValueError("early_stopping needs a metric that can improve: give --monitor val/loss, val/acc or val/f1")
    limit = trainer["limit_val_batches"]
    if limit is not None and limit == 0:
        if patience is not None:
            raise ValueError("early_stopping needs a validation, but trainer.limit_val_batches is 0")
        if monitor != DEFAULT_MONITOR and not resumes:
            raise ValueError(f"monitor: {monitor} needs a validation, but trainer.limit_val_batches is 0")
    keeps_none = trainer["enable_checkpointing"] is False and patience is None
    if keeps_none and monitor != DEFAULT_MONITOR and not resumes:
        raise ValueError(f"monitor: {monitor} judges checkpoints, but trainer.enable_checkpointing is false")
    if trainer["enable_checkpointing"] is False and not resumes:
        for name, default in (("save_every_minutes", SAVE_EVERY_MINUTES), ("save_every_steps", None)):
            if settings[name] not in (None, default):
                raise ValueError(
                    f"{name} saves checkpoints, but trainer.enable_checkpointing is false: leave one of them out"
                )


def resolve_monitor(config: Namespace) -> None:
    """Puts what the best checkpoint is judged by in the place of ``auto``, so that the run keeps it."""
    if config.monitor == DEFAULT_MONITOR:
        config.monitor = _choose(config)


def warn_of_last_weights(config: Namespace, typed: Arguments) -> None:
    """Warns if a configuration keeps the last weights of a training of which they may not be the best.

    The ``config.yaml`` of a run names what was chosen for its own schedule and end.
    """
    if config.monitor == "last" and "--monitor" not in typed.names and _choose(config) != "last":
        warn(
            "monitor: last stands in the configuration, but the learning rate of this training does not fall to zero, or it "
            "may end early: --monitor val/acc keeps the checkpoint with the highest validation accuracy"
        )


def _choose(config: Namespace) -> str:
    schedule = (config.model.get("init_args") or {}).get("schedule")
    trainer = config.trainer
    ends = {"EarlyStopping", "Timer"} & {str(one.get("class_path")).rpartition(".")[2] for one in as_list(trainer.callbacks)}
    may_end_early = config.early_stopping is not None or trainer.max_time is not None or bool(ends)
    # The last validation may be before the end.
    may_end_early |= trainer.max_steps != -1
    may_end_early |= trainer.check_val_every_n_epoch not in (None, 1) or trainer.val_check_interval not in (None, 1.0)
    return choose_monitor(schedule, may_end_early)


def make_average(config: Namespace) -> list[Callback]:
    """The callback that averages the weights, if that is wanted."""
    return [] if config.ema is None else [EMA(config.ema)]


def make_selection(config: Namespace) -> list[Callback]:
    """The callbacks that average the weights and end a training early, as far as that is wanted."""
    callbacks = make_average(config)
    if config.early_stopping is not None:
        patience, mode = config.early_stopping, MONITORS[config.monitor]
        callbacks.append(EarlyStopping(config.monitor, patience=patience, mode=mode, check_on_train_epoch_end=False))
    return callbacks
