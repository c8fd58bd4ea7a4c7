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

    On the processor before the weights change. On an accelerator one step later, so that it need not be waited for; before
    anything is saved in either case.

    Raises:
        TrainingError: Names epoch, batch and images.
    """

    def __init__(self) -> None:
        self._batch: tuple[int, int, Any] | None = None  # epoch, index, batch of the step in progress
        # Of a loss that was not looked at yet: whether it is finite, when that is known, the loss, where it occurred.
        self._unseen: tuple[Tensor, torch.cuda.Event | None, Tensor, tuple[int, int, Any]] | None = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        self._batch = trainer.current_epoch, batch_idx, batch

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        self._look(trainer)
        finite, known = torch.isfinite(loss.detach()), None
        if loss.device.type == "cuda":
            finite, known = finite.to("cpu", non_blocking=True), torch.cuda.Event()
            known.record()
        self._unseen = finite, known, loss.detach(), self._batch
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
        if self._unseen is None:
            return
        (finite, known, loss, (epoch, index, batch)), self._unseen = self._unseen, None
        if known is not None:
            known.synchronize()
        if finite:
            return
        raise TrainingError(
            f"the training loss is {float(loss)} in epoch {epoch}, batch {index}{_images(trainer, batch)}: "
            f"lower --model.lr, or clip gradients with --trainer.gradient_clip_val"
        )


def _images(trainer: pl.Trainer, batch: Any) -> str:
    images = getattr(trainer.datamodule, "splits", {}).get("train")
    if images is None or len(batch) < 3:
        return ""
    positions = batch[2].tolist()
    names = [images.name(position) for position in positions[:NUM_NAMED]]
    return f" ({', '.join(names)}{', …' if len(positions) > NUM_NAMED else ''})"
