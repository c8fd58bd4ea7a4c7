"""Stops a training whose loss or weights are not finite, before anything is saved."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from lit_cnn.errors import TrainingError

NUM_NAMED = 3
# A resumed run keeps its settings.
ADVICE = "start a new run with a lower --model.lr, or with --trainer.gradient_clip_val"


class FiniteLoss(Callback):
    """Stops training when a loss is infinite or not a number.

    On the CPU, it stops before the weights change. On an accelerator it stops one step later, so that no step has to wait
    for the accelerator. In both cases it stops before anything is saved.

    Raises:
        TrainingError: Names epoch, batch and images.
    """

    def __init__(self) -> None:
        self._batch: tuple[int, int, Any] | None = None  # epoch, index, batch of the step in progress
        # A loss that is not checked yet: whether it is finite, the event after which that is known, the loss, its batch.
        self._unchecked: tuple[Tensor, torch.cuda.Event | None, Tensor, tuple[int, int, Any]] | None = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        self._batch = trainer.current_epoch, batch_idx, batch

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        self._check(trainer)
        finite, known = torch.isfinite(loss.detach()), None
        if loss.device.type == "cuda":
            finite, known = finite.to("cpu", non_blocking=True), torch.cuda.Event()
            known.record()
        self._unchecked = finite, known, loss.detach(), self._batch
        if loss.device.type == "cpu":
            self._check(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check(trainer)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer)
        # Gradients may be infinite although the loss is finite.
        for name, parameter in pl_module.named_parameters():
            if not torch.isfinite(parameter).all():
                raise TrainingError(f"the weights {name} are not finite after step {trainer.global_step}: {ADVICE}")

    def _check(self, trainer: pl.Trainer) -> None:
        if self._unchecked is None:
            return
        (finite, known, loss, (epoch, index, batch)), self._unchecked = self._unchecked, None
        if known is not None:
            known.synchronize()
        if finite:
            return
        raise TrainingError(
            f"the training loss is {float(loss)} in epoch {epoch}, batch {index}{_images(trainer, batch)}: {ADVICE}"
        )


def _images(trainer: pl.Trainer, batch: Any) -> str:
    images = getattr(trainer.datamodule, "splits", {}).get("train")
    if images is None or len(batch) < 3:
        return ""
    positions = batch[2].tolist()
    names = [images.name(position) for position in positions[:NUM_NAMED]]
    return f" ({', '.join(names)}{', …' if len(positions) > NUM_NAMED else ''})"
