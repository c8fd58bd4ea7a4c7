"""Which checkpoints a run keeps."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from inspect import signature
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.optim import Optimizer

from lit_cnn.runs.checkpoint_file import num_bytes
from lit_cnn.runs.folder import Run
from lit_cnn.system.memory import format_bytes


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
        # No other path is taken from a checkpoint: it would be removed for a better one.
        paths = {"best_model_path": "", "kth_best_model_path": "", "best_k_models": {}}
        if score is not None:
            paths = {"best_model_path": self.path, "kth_best_model_path": self.path, "best_k_models": {self.path: score}}
        here |= paths
        super().load_state_dict(state_dict | here)


class Last(ModelCheckpoint):
    """Keeps ``last.ckpt``, from which a run can go on: saved after each epoch, and within one when :meth:`save` is called.

    Before training it makes sure that the folder can be written and has room for the checkpoints to come.

    Args:
        run: Where to keep it.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run.checkpoints, filename=run.last.stem, save_on_train_epoch_end=True, enable_version_counter=False)
        self.path = str(Path(self.dirpath) / run.last.name)

    def save(self, trainer: pl.Trainer) -> None:
        """Saves at once. All processes must call it."""
        # Not by the parent's method: that would take the end of the epoch, at the same step, for saved.
        trainer.save_checkpoint(self.path)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            num_bytes = checkpoint_bytes(pl_module, trainer.optimizers)
            check_room(Path(self.dirpath), num_bytes)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        here = {"dirpath": self.dirpath, "best_model_path": self.path, "last_model_path": ""}
        super().load_state_dict(state_dict | here | {"kth_best_model_path": "", "best_k_models": {}})


def checkpoint_bytes(module: nn.Module, optimizers: Iterable[Optimizer]) -> int:
    """Size of a checkpoint: the weights and what their optimisers remember of each."""
    count = num_bytes(module.state_dict())
    for optimizer in optimizers:
        # One step on a number tells how many others the optimiser keeps for it.
        probe = nn.Parameter(torch.zeros(1, 1))
        probe.grad = torch.ones_like(probe)
        arguments = {key: value for key, value in optimizer.defaults.items() if key in signature(type(optimizer)).parameters}
        alike = type(optimizer)([probe], **arguments)
        alike.step(probe.sum)
        each = sum(value.numel() for value in alike.state[probe].values() if isinstance(value, Tensor) and value.ndim)
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        count += each * num_bytes(trained)
    return count


def check_room(folder: Path, bytes_of_one: int) -> None:
    """Makes sure that checkpoints can be written.

    Args:
        folder: Where they will lie.
        bytes_of_one: Size of each: there are the last, the one before, the best, and one that is being written.

    Raises:
        OSError: If the folder cannot be written or has no room; names it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        there = sum(file.stat().st_size for file in folder.glob("*.ckpt") if file.is_file())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OSError(f"checkpoints cannot be written to {folder} ({error})") from error
    needed = 4 * bytes_of_one
    if free + there < needed:
        raise OSError(f"the checkpoints in {folder} will take {format_bytes(needed)}, but {format_bytes(free)} are free")
