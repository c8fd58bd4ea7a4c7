"""Averaged weights, which are validated and saved as soon as they exist, and not before."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

# Numbers of 16 bits have no place for the small steps of an average.
TOO_SHORT = ("16-true", "bf16-true")


def check_decay(decay: float) -> None:
    """Raises a ValueError if an exponential moving average cannot have this decay."""
    if not 0 < decay < 1:
        raise ValueError(f"the decay of averaged weights must be between 0 and 1, got {decay:g}; 0.999 is usual")


def check_averaged_precision(precision: str) -> None:
    """Raises a ValueError if weights of this precision cannot be averaged."""
    if precision in TOO_SHORT:
        raise ValueError(
            f"weights of precision {precision} are too coarse to be averaged; use {precision.replace('true', 'mixed')}"
        )


class EMA(WeightAveraging):
    """Exponential moving average of the weights: validated, saved, and left in the network when training ends.

    The decay of update n, counted from 0, is min(decay, (1 + n) / (10 + n)). So the average is useful from the first epoch
    on, and short trainings need no other decay. The running statistics of BatchNorm are averaged too: while the learning
    rate is high, those of the trained weights do not fit the averaged ones.

    Source: Polyak and Juditsky 1992 (averaging); the decay of the first updates as in TensorFlow's
    ``tf.train.ExponentialMovingAverage(decay, num_updates)``; buffers as in
    ``torch.optim.swa_utils.AveragedModel(use_buffers=True)``.

    Args:
        decay: Share of the average that an update keeps, between 0 and 1.
    Raises:
        ValueError: If decay is not between 0 and 1, or the weights are trained in 16 bits.
    """

    def __init__(self, decay: float = 0.999) -> None:
        check_decay(decay)
        super().__init__()
        self.decay = decay
        self.num_updates = 0
        # Each average, and what it is of. Whole numbers, such as BatchNorm's count of batches, are copied.
        self._averaged: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._copied: tuple[list[Tensor], list[Tensor]] = ([], [])

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        check_averaged_precision(str(trainer.precision))
        if trainer.precision == "64-true":
            pl_module.double()  # Lightning converts the module later, and the average not at all
        self._device = trainer.strategy.root_device  # where the module will be; now it is on the processor
        self.num_updates = self._latest_update_step = 0
        super().setup(trainer, pl_module, stage)

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
        began = checkpoint.get("callbacks", {}).get(self.state_key, {}).get("decay", self.decay)
        if trainer.state.fn == "fit" and began != self.decay:
            raise ValueError(f"the training began with EMA({began:g}) and cannot be resumed with EMA({self.decay:g})")
        if self._average_model is not None:
            self.num_updates = int(self._average_model.n_averaged)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "decay": self.decay}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert self._average_model is not None
        average = self._average_model.module
        self._averaged, self._copied = zip(_divided(average), _divided(pl_module), strict=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step <= self._latest_update_step:
            return  # gradients accumulate
        self._latest_update_step = step
        # Not with AveragedModel.update_parameters: it asks a GPU for its count, and sorts all tensors, in every step.
        get_ema_multi_avg_fn(self.next_decay)(*self._averaged, self.num_updates)
        for own, current in zip(*self._copied, strict=True):
            own.copy_(current)
        self.num_updates += 1
        self._average_model.n_averaged += 1

    @property
    def next_decay(self) -> float:
        """Share of the average that the next update keeps."""
        return min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))


def _divided(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers of fractions, and those of whole numbers."""
    tensors = [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]
    of_fractions = [tensor for tensor in tensors if tensor.is_floating_point()]
    return of_fractions, [tensor for tensor in tensors if not tensor.is_floating_point()]


class LateAverage(Callback):
    """Lets Lightning's ``WeightAveraging`` validate and save the trained weights until its average begins.

    Without it, these are the initial weights until the first update, for example of ``EMAWeightAveraging`` with
    ``update_starting_at_step``.

    Raises:
        ValueError: If the average of such a callback would be rounded.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        names = [type(one).__name__ for one in trainer.callbacks if type(one) in (WeightAveraging, EMAWeightAveraging)]
        if stage != "fit" or not names:
            return
        check_averaged_precision(str(trainer.precision))
        if trainer.precision == "64-true":
            raise ValueError(f"{names[0]} rounds weights of precision 64-true to 32 bits: use --ema (in Python, EMA)")

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
