"""Stops a training when a signal asks for it, and saves it at intervals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, WeightAveraging
from pytorch_lightning.plugins.environments import SLURMEnvironment

from lit_cnn.errors import Interrupted
from lit_cnn.training.callbacks.checkpointing import Last

# Signals within this time count as one: a process and its process group may both get the same signal.
ONE_STOP_S = 0.3
# A training saves its last checkpoint this often, if nothing else is given.
SAVE_EVERY_MINUTES = 10.0


class Interrupts(Callback):
    """On SIGINT (Ctrl-C) or SIGTERM, finishes the batch, saves ``last.ckpt`` and raises :class:`lit_cnn.errors.Interrupted`.

    So it does on SIGHUP, which the end of its terminal sends, unless that is ignored, as below nohup. A second signal quits
    at once. A signal to one process stops all processes of the training. On SLURM with requeueing, the requeue signal
    (SIGUSR1 by default) saves and requeues the job; SLURM then sends SIGTERM. ``validate`` and ``test`` stop without saving.

    Args:
        last: Saves the checkpoint; None to save nothing.
        every_minutes: Also saves this often within an epoch; None to disable.
        every_steps: Also saves after this many optimiser steps; None to disable.

    Raises:
        ValueError: If an interval is not above 0.
    """

    def __init__(self, last: Last | None, every_minutes: float | None = None, every_steps: int | None = None) -> None:
        for name, value in (("save_every_minutes", every_minutes), ("save_every_steps", every_steps)):
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        self.last = last
        self.every_seconds = every_minutes * 60 if every_minutes else None
        self.every_steps = every_steps
        self._received = 0  # number of the signal that this process received
        self._received_at = 0.0
        self._requeue = 0  # 1 if SLURM asked to requeue the job
        self._stopping = 0  # number of the signal for which all processes stop; the training is saved
        self._saved_at = time.monotonic()
        self._cpu_group: Any = None  # processes agree on the CPU, so that they do not wait for the accelerator
        self._launcher: Any = None

    # Signals

    def _listen(self, trainer: pl.Trainer) -> None:
        self._received = self._stopping = self._requeue = 0
        self._launcher = trainer.strategy.launcher
        if trainer.world_size > 1 and self._cpu_group is None:
            self._cpu_group = torch.distributed.new_group(backend="gloo")
        if threading.current_thread() is not threading.main_thread():
            return
        signal.signal(signal.SIGINT, self._on_stop_signal)
        signal.signal(signal.SIGTERM, self._on_stop_signal)
        # The terminal was closed; below nohup this signal is ignored.
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._on_stop_signal)
        environment = trainer._accelerator_connector.cluster_environment
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            # Lightning's own handler would save in the middle of a step.
            signal.signal(environment.requeue_signal or signal.SIGUSR1, self._on_requeue_signal)

    def _on_requeue_signal(self, signum: int, frame: Any) -> None:
        self._requeue = 1

    def _on_stop_signal(self, signum: int, frame: Any) -> None:
        if self._received and time.monotonic() - self._received_at < ONE_STOP_S:
            return
        if self._received:
            if hasattr(self._launcher, "kill"):
                self._launcher.kill(signal.SIGKILL)
            if sys.stdout.isatty():
                os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # the progress bar hid the cursor
            os._exit(128 + signum)
        self._received, self._received_at = signum, time.monotonic()
        if signum == signal.SIGINT:
            print("\nstopping after this batch; press Ctrl-C again to quit at once", file=sys.stderr, flush=True)

    def _agree(self, *flags: int) -> tuple[int, ...]:
        """The maximum of each flag over all processes."""
        if self._cpu_group is None:
            return flags
        highest = torch.tensor(flags)
        torch.distributed.all_reduce(highest, torch.distributed.ReduceOp.MAX, group=self._cpu_group)
        return tuple(highest.tolist())

    # Not earlier: Lightning sets its own handlers just before this hook, and restores the earlier ones after training.
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen(trainer)
        (received,) = self._agree(int(signal.SIGTERM) if trainer.received_sigterm else 0)
        if received:  # before this callback listened; there is nothing to save yet
            raise Interrupted(received)
        self._saved_at = time.monotonic()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_if_saved()
        if trainer.state.fn == "validate":
            self._listen(trainer)

    # Saving and stopping

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop._should_accumulate():
            return  # a checkpoint does not hold accumulated gradients
        by_time = self.every_seconds is not None and time.monotonic() - self._saved_at >= self.every_seconds
        received, requeue, due = self._agree(self._received, self._requeue, int(by_time and trainer.is_global_zero))
        due = due or requeue or (self.every_steps is not None and trainer.global_step % self.every_steps == 0)
        if received or due:
            self._save(trainer)
        self._requeue_if(trainer, requeue)
        # The training stops in the next hook, because Lightning logs this step after this hook.
        self._stopping = received

    def _stop_if_saved(self, *args: Any) -> None:
        if self._stopping:
            raise Interrupted(self._stopping)

    on_train_batch_start = on_train_epoch_end = _stop_if_saved

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if not _averages_weights(trainer):
            self._stop_validation(trainer)

    # Not in on_validation_end, where EarlyStopping counts this validation: a resumed training repeats it.
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if _averages_weights(trainer):
            self._stop_validation(trainer)

    def _stop_validation(self, trainer: pl.Trainer) -> None:
        received, requeue = self._agree(self._received, self._requeue)
        training = trainer.state.fn == "fit" and not trainer.sanity_checking
        if training and trainer.fit_loop._should_accumulate():
            return  # stops at the end of the optimiser step
        if training and (received or requeue):
            self._save(trainer)
            self._requeue_if(trainer, requeue)
        if received:
            raise Interrupted(received)

    def on_test_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        (received,) = self._agree(self._received)
        if received:
            raise Interrupted(received)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (received,) = self._agree(self._received)
        if received:
            raise Interrupted(received)

    def _requeue_if(self, trainer: pl.Trainer, requeue: int) -> None:
        if requeue:
            self._requeue = 0
            if trainer.is_global_zero:
                _requeue_job()

    def _save(self, trainer: pl.Trainer) -> None:
        if self.last is not None:
            self.last.save(trainer)
        self._saved_at = time.monotonic()


def _averages_weights(trainer: pl.Trainer) -> bool:
    """Whether validation uses averaged weights. A checkpoint must then wait until the network has its own weights again."""
    return any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)


def _requeue_job() -> None:
    environment = os.environ
    job = environment["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in environment:
        job = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"lit-cnn: warning: the job {job} was saved but not requeued ({error})", file=sys.stderr, flush=True)
