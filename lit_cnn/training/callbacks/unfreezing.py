"""Trains the frozen part of a network too, from a share of the training on."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BatchSizeFinder, Callback
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch.nn.parallel import DistributedDataParallel

from lit_cnn.network.parts import frozen_norms
from lit_cnn.training.schedule import progress


class Unfreezing(Callback):
    """Makes frozen parameters trainable before the first optimiser step at or after a share of the training.

    Whether they are follows from the share that is done: a resumed run needs no saved state. The optimiser holds them from
    the start, and passes over parameters without gradients: checkpoints have the same groups at all times. While they are
    frozen, the backward pass ends before them, and DDP does not know them. Another DDP then takes its place.

    Args:
        share: Share of the training, above 0 and below 1.
        names: Names of the frozen parameters in the network.
    """

    def __init__(self, share: float, names: Collection[str]) -> None:
        self.share = share
        self.names = names
        self.is_done = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        if any(isinstance(callback, BatchSizeFinder) for callback in trainer.callbacks):
            raise ValueError("BatchSizeFinder measures the frozen network, which unfreeze_at ends: leave one of them out")
        # Not later: callbacks change the length.
        self._progress = partial(progress, trainer, trainer.max_epochs, trainer.max_steps)
        self.is_done = False
        self._set_trainable(pl_module, False)  # an earlier training may have unfrozen them

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        done, length = self._progress()
        if length is None:
            raise ValueError("unfreeze_at needs the number of batches, which is unknown: set --trainer.max_steps")
        if (last := self._last_step(trainer, length) / length) < self.share and not trainer.fast_dev_run:
            raise ValueError(
                f"unfreeze_at={self.share} is later than the last step, which begins at {last:.3g} of the training: "
                f"lower it, or train for longer"
            )
        if done / length >= self.share:
            self._unfreeze(trainer, pl_module)

    def _last_step(self, trainer: pl.Trainer, length: int) -> int:
        """Where the last optimiser step begins: the number of batches, or of steps, before it."""
        if length == trainer.max_steps:
            return length - 1
        batches, of_step = int(trainer.num_training_batches), trainer.accumulate_grad_batches
        return length - batches + (batches - 1) // of_step * of_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        # Not while gradients accumulate: a step has those of all its batches.
        if self.is_done or trainer.fit_loop.epoch_loop._should_accumulate():
            return
        done, length = self._progress()
        assert length is not None
        if self.share <= done / length < 1:
            self._unfreeze(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.is_done and not trainer.fast_dev_run:
            rank_zero_warn(f"the training ended before unfreeze_at={self.share}: the frozen part is as it was at the start")

    def _unfreeze(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.is_done = True
        for norm in frozen_norms(pl_module.network):
            norm.train()
        self._set_trainable(pl_module, True)
        strategy = trainer.strategy
        if isinstance(strategy, DDPStrategy) and isinstance(strategy.model, DistributedDataParallel):
            # It exchanges the gradients of the parameters that were trainable when it was made.
            strategy.model._remove_autograd_hooks()
            strategy.model = pl_module
            strategy.configure_ddp()

    def _set_trainable(self, pl_module: pl.LightningModule, trainable: bool) -> None:
        for name in self.names:
            pl_module.network.get_parameter(name).requires_grad_(trainable)
