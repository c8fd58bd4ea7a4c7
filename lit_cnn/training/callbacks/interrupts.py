"""Ends a training well when a signal asks for it, and saves it every so often in case nothing will ask."""

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

# Signals that follow one another more quickly are one: to a process, and to its group, by whoever stops it.
ONE_STOP_S = 0.3


class Interrupts(Callback):
    """On SIGINT (Ctrl-C) and SIGTERM ends the batch, saves ``last.ckpt`` and raises :class:`lit_cnn.errors.Interrupted`.

    A second signal quits at once. A signal to one process stops all of them. Under SLURM that requeues jobs, its signal
    (SIGUSR1 if Lightning was told of no other) saves and has the job requeued; SIGTERM follows. A validation or test that
    does not belong to a training ends without saving.

    Args:
        last: Saves; None if nothing is to be saved.
        every_minutes: Saves also this often within an epoch; None for not by time.
        every_steps: Saves also after so many optimiser steps; None for not by steps.

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
        self._received = 0
        self._received_at = 0.0
        self._requeue = 0  # whether SLURM is to run the job once more
        self._ending = 0  # the signal for which the training ends, once it is saved
        self._saved_at = time.monotonic()
        self._peers: Any = None  # process group of the processor's own, so that asking does not wait for an accelerator
        self._launcher: Any = None

    # Signals

    def _listen(self, trainer: pl.Trainer) -> None:
        self._received = self._ending = self._requeue = 0
        self._launcher = trainer.strategy.launcher
        if trainer.world_size > 1 and self._peers is None:
            self._peers = torch.distributed.new_group(backend="gloo")
        if threading.current_thread() is not threading.main_thread():
            return
        environment = trainer._accelerator_connector.cluster_environment
        signal.signal(signal.SIGINT, self._notice)
        signal.signal(signal.SIGTERM, self._notice)
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            # Lightning would save in the middle of a step.
            signal.signal(environment.requeue_signal or signal.SIGUSR1, self._notice_requeue)

    def _notice_requeue(self, signum: int, frame: Any) -> None:
        self._requeue = 1

    def _notice(self, signum: int, frame: Any) -> None:
        if self._received and time.monotonic() - self._received_at < ONE_STOP_S:
            return
        if self._received:
            if hasattr(self._launcher, "kill"):
                self._launcher.kill(signal.SIGKILL)
            os._exit(128 + signum)
        self._received, self._received_at = signum, time.monotonic()
        if signum == signal.SIGINT:
            print("\nstopping after this batch; once more to quit at once", file=sys.stderr, flush=True)

    def _agree(self, *flags: int) -> tuple[int, ...]:
        """The highest of every flag over all processes."""
        if self._peers is None:
            return flags
        together = torch.tensor(flags)
        torch.distributed.all_reduce(together, torch.distributed.ReduceOp.MAX, group=self._peers)
        return tuple(together.tolist())

    # Not earlier: Lightning sets handlers of its own before training starts, and sets back afterwards those that it found.
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen(trainer)
        (received,) = self._agree(int(signal.SIGTERM) if trainer.received_sigterm else 0)
        if received:  # before this listened; nothing is trained that could be lost
            raise Interrupted(received)
        self._saved_at = time.monotonic()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end()
        if trainer.state.fn == "validate":
            self._listen(trainer)

    # Stopping and saving

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop._should_accumulate():
            return  # gradients are no part of a checkpoint
        by_time = self.every_seconds is not None and time.monotonic() - self._saved_at >= self.every_seconds
        received, requeue, due = self._agree(self._received, self._requeue, int(by_time and trainer.is_global_zero))
        due = due or requeue or (self.every_steps is not None and trainer.global_step % self.every_steps == 0)
        if received or due:
            self._save(trainer)
        self._have_requeued(trainer, requeue)
        # Not before the step is logged, which is next.
        self._ending = received

    def _end(self, *args: Any) -> None:
        if self._ending:
            raise Interrupted(self._ending)

    on_train_batch_start = on_train_epoch_end = _end

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if not _has_averaged_weights(trainer):
            self._end_validation(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if _has_averaged_weights(trainer):
            self._end_validation(trainer)

    def _end_validation(self, trainer: pl.Trainer) -> None:
        received, requeue = self._agree(self._received, self._requeue)
        training = trainer.state.fn == "fit" and not trainer.sanity_checking
        if training and trainer.fit_loop._should_accumulate():
            return  # the end of the optimiser step will do
        if training and (received or requeue):
            self._save(trainer)
            self._have_requeued(trainer, requeue)
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

    def _have_requeued(self, trainer: pl.Trainer, requeue: int) -> None:
        if requeue:
            self._requeue = 0
            if trainer.is_global_zero:
                _requeue_job()

    def _save(self, trainer: pl.Trainer) -> None:
        if self.last is not None:
            self.last.save(trainer)
        self._saved_at = time.monotonic()


def _has_averaged_weights(trainer: pl.Trainer) -> bool:
    """Whether the network has other weights while it validates: a checkpoint must wait until it has its own again."""
    return any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)


def _requeue_job() -> None:
    environment = os.environ
    job = environment["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in environment:
        job = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"lit-cnn: warning: the job {job} was saved and not requeued ({error})", file=sys.stderr, flush=True)
