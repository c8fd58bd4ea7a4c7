"""Which checkpoints a run keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from lit_cnn.run import Run


class Best(ModelCheckpoint):
    """Keeps ``best.ckpt``, of the validation with the highest accuracy.

    Of equal accuracies the later is kept: small validation sets tie often, and as the learning rate falls the later network
    is the better trained.

    Args:
        run: Where to keep it.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(
            run.checkpoints,
            filename=run.best.stem,
            monitor="val/acc",
            mode="max",
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        # As Lightning spells it, absolute: it removes what has another name than the file that it just wrote.
        self.path = str(Path(self.dirpath) / run.best.name)

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        if super().check_monitor_top_k(trainer, current):
            return True
        return current is not None and self.best_model_score is not None and bool(torch.eq(current, self.best_model_score))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from the best so far, also where the run's folder has another name by now."""
        score = state_dict["best_model_score"]
        here = {"dirpath": self.dirpath, "last_model_path": ""}
        if score is not None:
            here |= {"best_model_path": self.path, "kth_best_model_path": self.path, "best_k_models": {self.path: score}}
        super().load_state_dict(state_dict | here)


class Last(ModelCheckpoint):
    """Keeps ``last.ckpt``, of the last whole epoch, from which a run can go on.

    Args:
        run: Where to keep it.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run.checkpoints, filename=run.last.stem, save_on_train_epoch_end=True, enable_version_counter=False)
        self.path = str(Path(self.dirpath) / run.last.name)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict | {"dirpath": self.dirpath, "best_model_path": self.path, "last_model_path": ""})
