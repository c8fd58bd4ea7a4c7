"""Stops a training that has gone astray before it can spoil anything."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from lit_cnn.errors import TrainingError

NUM_NAMED = 3


class FiniteLoss(Callback):
    """Ends training when a loss is infinite or not a number.

    On the processor before the weights change. On an accelerator one step later, so that the loss of a step is looked at
    while the next is computed; before anything is saved in either case.

    Raises:
        TrainingError: Names epoch, batch and images.
    """

    def __init__(self) -> None:
        self._batch: tuple[int, int, Any] | None = None  # epoch, index, batch of the step in progress
        self._unseen: tuple[Tensor, tuple[int, int, Any]] | None = None  # a loss that was not looked at yet

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        self._batch = trainer.current_epoch, batch_idx, batch

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        self._look(trainer)
        self._unseen = loss.detach(), self._batch
        if loss.device.type == "cpu":
            self._look(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._look(trainer)
        # A finite loss may have had gradients that are not.
        for name, parameter in pl_module.named_parameters():
            if not torch.isfinite(parameter).all():
                raise TrainingError(f"the weights {name} are not finite after step {trainer.global_step}: lower --model.lr")

    def _look(self, trainer: pl.Trainer) -> None:
        unseen, self._unseen = self._unseen, None
        if unseen is None or torch.isfinite(unseen[0]):
            return
        epoch, index, batch = unseen[1]
        raise TrainingError(
            f"the training loss is {float(unseen[0])} in epoch {epoch}, batch {index}{_images(trainer, batch)}: "
            f"lower --model.lr, or clip gradients with --trainer.gradient_clip_val"
        )


def _images(trainer: pl.Trainer, batch: Any) -> str:
    images = getattr(trainer.datamodule, "splits", {}).get("train")
    if images is None or len(batch) < 3:
        return ""
    positions = batch[2].tolist()
    names = [images.name(position) for position in positions[:NUM_NAMED]]
    return f" ({', '.join(names)}{', …' if len(positions) > NUM_NAMED else ''})"
