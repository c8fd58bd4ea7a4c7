"""Which checkpoints a run keeps."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from lit_cnn.run import Run


class Best(ModelCheckpoint):
    """Keeps ``best.ckpt``, of the epoch with the highest validation accuracy.

    Of epochs with equal accuracy the later is kept: small validation sets tie often, and as the learning rate falls the
    later network is the better trained.

    Args:
        run: Where to keep it.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(
            run.checkpoints,
            filename=run.best.stem,
            monitor="val/acc",
            mode="max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        if super().check_monitor_top_k(trainer, current):
            return True
        return current is not None and self.best_model_score is not None and bool(torch.eq(current, self.best_model_score))


class Last(ModelCheckpoint):
    """Keeps ``last.ckpt``, of the last whole epoch, from which a run can go on.

    Args:
        run: Where to keep it.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run.checkpoints, filename=run.last.stem, save_on_train_epoch_end=True, enable_version_counter=False)
