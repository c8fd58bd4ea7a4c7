"""``--compile``: compiles the network with torch.compile after all other callbacks have used it."""

from __future__ import annotations

import time
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, GradientAccumulationScheduler

from lit_cnn.system.compiler import require_compiler

Mode = Literal["default", "reduce-overhead", "max-autotune"]


class Compile(Callback):
    """Compiles the network in place, so that its checkpoints do not differ from those of a plain network.

    Prints the time of the first step, in which the code is generated.

    Args:
        mode: Mode of ``torch.compile``; reduce-overhead records CUDA graphs.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.seconds: float | None = None  # of the first training step
        self._started = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Raises a ValueError if there is no compiler, or if CUDA graphs would overwrite accumulated gradients."""
        on_cpu = trainer.strategy.root_device.type == "cpu"
        if on_cpu:
            require_compiler("--compile")
        elif self.mode != "default" and _accumulates(trainer):
            raise ValueError(f"--compile {self.mode} replays CUDA graphs, which do not accumulate gradients: use default")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.compile_network(self.mode)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit":
            pl_module.compile_network(self.mode)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.compile_network(self.mode)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        if self.seconds is None:
            self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.seconds is None:
            if torch.accelerator.is_available():
                torch.accelerator.synchronize()
            self.seconds = time.perf_counter() - self._started
            if trainer.is_global_zero:
                print(f"compiled ({self.mode}): the first step took {self.seconds:.1f} s", flush=True)


def _accumulates(trainer: pl.Trainer) -> bool:
    schedulers = [callback for callback in trainer.callbacks if isinstance(callback, GradientAccumulationScheduler)]
    return trainer.accumulate_grad_batches > 1 or any(one.going_to_accumulate_grad_batches() for one in schedulers)
