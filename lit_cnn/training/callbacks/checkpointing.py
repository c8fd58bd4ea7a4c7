"""The checkpoints that a run keeps: the best and the last."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from inspect import signature
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor, nn
from torch.optim import Optimizer

from lit_cnn.runs.checkpoint_file import num_bytes, peek
from lit_cnn.runs.folder import Run
from lit_cnn.runs.format import RUN_KEY
from lit_cnn.runs.monitor import FIRST_MONITOR, MONITORS
from lit_cnn.system.memory import format_bytes
from lit_cnn.training.class_scores import Predictions
from lit_cnn.training.kept_predictions import keep_predictions, number_of_images, remove_predictions
from lit_cnn.training.origin import data_of

NAMES = ("best.ckpt", "last.ckpt", "last.previous.ckpt")

# What a checkpoint holds for resuming only. WeightAveraging stores the averaged weights as "state_dict", and the weights in
# training under the last two keys.
RESUME_KEYS = (
    "optimizer_states",
    "lr_schedulers",
    "loops",
    "callbacks",
    "lit_cnn_resume",
    "current_model_state",
    "averaging_state",
)


class Best(ModelCheckpoint):
    """Keeps ``best.ckpt``: the network with the best validation, without the state of the optimiser.

    ``predictions/val.npz`` of the run has the logits of the same validation, if that saw all validation images.

    If two are equally good, the later one is kept. Small validation sets often give equal accuracies, and the later network
    is trained better because the learning rate falls.

    Args:
        run: The run that keeps it.
        judged_by: Metric that tells which validation is the best, or ``last``: one of
            :data:`lit_cnn.runs.monitor.MONITORS`.
    """

    def __init__(self, run: Run, judged_by: str = FIRST_MONITOR) -> None:
        super().__init__(
            run.checkpoints,
            filename=run.best.stem,
            # A later validation has more steps behind it, and is better therefore.
            monitor="step" if judged_by == "last" else judged_by,
            mode=MONITORS[judged_by],
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        self.run = run
        self.judged_by = judged_by
        # Absolute, as Lightning writes it: it removes the previous file if its name differs from the new one.
        self.path = str(Path(self.dirpath) / run.best.name)
        # Of the validation that best.ckpt is of: all val/ metrics, and the images of each class.
        self.scores: dict[str, float] = {}
        self.class_counts: list[Any] | None = None
        self._saving = False
        self._resumed = True  # whether the loaded checkpoint is one of this run, whose best checkpoint is there

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        if super().check_monitor_top_k(trainer, current):
            return True
        return current is not None and self.best_model_score is not None and bool(torch.eq(current, self.best_model_score))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and "val" in getattr(pl_module, "metrics", {}):
            pl_module.metrics["val"].predictions = Predictions()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == "fit" and "val" in getattr(pl_module, "metrics", {}):
            pl_module.metrics["val"].predictions = None

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        if trainer.is_global_zero:
            remove_predictions(self.run.predictions["val"])  # of the checkpoint that is replaced
        self._saving = True
        try:
            super()._save_checkpoint(trainer, filepath)
        finally:
            self._saving = False
        values = trainer.callback_metrics.items()
        self.scores = {name: float(value) for name, value in values if name.startswith("val/")}
        metrics = getattr(trainer.lightning_module, "metrics", {})
        counts = metrics["val"].class_counts if "val" in metrics else None
        self.class_counts = None if counts is None else counts.tolist()
        self._keep_predictions(trainer)

    def _keep_predictions(self, trainer: pl.Trainer) -> None:
        metrics = getattr(trainer.lightning_module, "metrics", {})
        predictions = metrics["val"].gather_predictions() if "val" in metrics else None
        if predictions is None or not trainer.is_global_zero:
            return
        data = data_of(trainer)
        if len(predictions) == number_of_images(data, "val"):
            checkpoint = self.run.best.relative_to(self.run.path).as_posix()
            keep_predictions(self.run.predictions["val"], predictions, data, "val", checkpoint, trainer.global_step)

    # Not by save_weights_only: Lightning would then skip the hooks of the callbacks, which put the averaged weights in place
    # and refuse weights that are not finite. Lightning calls this hook after those of all other callbacks.
    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._saving:
            for key in RESUME_KEYS:
                checkpoint.pop(key, None)

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        # A best checkpoint of a later step is of a part of the training that was lost: this one does not have its scores.
        is_kept = is_saved_by(self.run, checkpoint) and self.run.best.is_file()
        is_kept = is_kept and peek(self.run.best).get("global_step", 0) <= checkpoint["global_step"]
        self._resumed = trainer.strategy.broadcast(is_kept)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"scores": self.scores, "class_counts": self.class_counts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the best score from a checkpoint, if the network that has it is in this run's folder.

        The paths are those of this run: its folder may have been renamed.
        """
        score = state_dict["best_model_score"] if self._resumed else None
        self.scores = {} if score is None else state_dict.get("scores", {})
        if score is not None and not self.scores:
            self.scores = {self.monitor: float(score)}  # an earlier version kept no others
        self.class_counts = None if score is None else state_dict.get("class_counts")
        own = {"dirpath": self.dirpath, "last_model_path": "", "best_model_score": score}
        # No path is taken from the checkpoint: Lightning would remove that file for a better one.
        if score is None:
            own |= {"best_model_path": "", "kth_best_model_path": "", "best_k_models": {}}
            own["kth_value"] = self.kth_value
        else:
            own |= {"best_model_path": self.path, "kth_best_model_path": self.path, "best_k_models": {self.path: score}}
        super().load_state_dict(state_dict | own)


class Last(ModelCheckpoint):
    """Keeps ``last.ckpt``, from which a run is resumed: saved after each epoch, and whenever :meth:`save` is called.

    Before training, it checks that the folder can be written and has room for the checkpoints.

    Args:
        run: The run that keeps it.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run.checkpoints, filename=run.last.stem, save_on_train_epoch_end=True, enable_version_counter=False)
        self.path = str(Path(self.dirpath) / run.last.name)

    def save(self, trainer: pl.Trainer) -> None:
        """Saves now. All processes must call it."""
        # Not with the parent's method: it would then skip the end of the epoch if that comes at the same step.
        trainer.save_checkpoint(self.path)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            weights = num_bytes(pl_module.state_dict())
            full = checkpoint_bytes(pl_module, trainer.optimizers)
            if any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks):
                full += weights  # the averaged ones
            check_room(Path(self.dirpath), full, weights)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = {"dirpath": self.dirpath, "best_model_path": self.path, "last_model_path": ""}
        super().load_state_dict(state_dict | own | {"kth_best_model_path": "", "best_k_models": {}})


def is_saved_by(run: Run, checkpoint: dict[str, Any]) -> bool:
    """Whether a run saved a checkpoint, which it is resumed from. Otherwise it is a new run that starts from it.

    Args:
        run: The run that trains.
        checkpoint: Content of the file; those of earlier versions do not name their run.
    """
    return checkpoint.get(RUN_KEY) in (None, run.id)


def checkpoint_bytes(module: nn.Module, optimizers: Iterable[Optimizer]) -> int:
    """Size of a full checkpoint: the weights, and the state that the optimisers keep for each of them."""
    count = num_bytes(module.state_dict())
    for optimizer in optimizers:
        # One step on a single number shows how many numbers the optimiser keeps for each.
        probe = nn.Parameter(torch.zeros(1, 1))
        probe.grad = torch.ones_like(probe)
        arguments = {key: value for key, value in optimizer.defaults.items() if key in signature(type(optimizer)).parameters}
        copy = type(optimizer)([probe], **arguments)
        copy.step()
        numbers = sum(value.numel() for value in copy.state[probe].values() if isinstance(value, Tensor) and value.ndim)
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        count += numbers * num_bytes(trained)
    return count


def needed_bytes(full: int, weights: int) -> int:
    """Room for all checkpoints of a run.

    Most room is taken while ``last.ckpt`` is written: three full checkpoints, which are the new, the last and the previous
    one, and the best, which holds weights only. While the best is written, there are two full ones and two of weights.

    Args:
        full: Bytes of a full checkpoint.
        weights: Bytes of one that holds weights only.
    """
    return 3 * full + weights


def check_room(folder: Path, full: int, weights: int) -> None:
    """Checks that the checkpoints of a run can be written.

    Args:
        folder: Their folder; it need not exist.
        full: Bytes of a full checkpoint.
        weights: Bytes of one that holds weights only.

    Raises:
        OSError: If the folder cannot be written or has too little room; names it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        partial = [f".{name}.partial" for name in NAMES]  # of a process that was killed; written over
        replaced = sum(path.stat().st_size for path in map(folder.joinpath, [*NAMES, *partial]) if path.is_file())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OSError(f"checkpoints cannot be written to {folder} ({error})") from error
    needed = needed_bytes(full, weights)
    if free + replaced < needed:
        raise OSError(f"the checkpoints in {folder} will take {format_bytes(needed)}, but {format_bytes(free)} are free")
