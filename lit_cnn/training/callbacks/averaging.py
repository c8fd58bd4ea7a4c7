"""Averaged weights that are used as soon as they exist, and not before."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, WeightAveraging


class LateAverage(Callback):
    """Lets Lightning's ``WeightAveraging`` validate and save the trained weights until its average begins.

    Without it, these are the initial weights until the first update, for example of ``EMAWeightAveraging`` with
    ``update_starting_at_step``.
    """

    # Lightning's callback puts the average in place in later hooks than these.
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._follow(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._follow(trainer, pl_module)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        if "current_model_state" in checkpoint and not checkpoint["averaging_state"]["n_averaged"]:
            checkpoint["state_dict"] = checkpoint["current_model_state"]

    def _follow(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for callback in trainer.callbacks:
            average = callback._average_model if isinstance(callback, WeightAveraging) else None
            if average is None or average.n_averaged:
                continue
            with torch.no_grad():
                for own, current in zip(average.module.parameters(), pl_module.parameters(), strict=True):
                    own.copy_(current)
                for own, current in zip(average.module.buffers(), pl_module.buffers(), strict=True):
                    own.copy_(current)


def averages_that_never_began(trainer: pl.Trainer) -> list[str]:
    """The callbacks of a training that has ended whose average was never updated: it would have begun later."""
    averages = [callback for callback in trainer.callbacks if isinstance(callback, WeightAveraging)]
    return [type(one).__name__ for one in averages if one._average_model and not one._average_model.n_averaged]
