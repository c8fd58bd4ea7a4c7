"""Makes a resumed run end with the same bits as a run that was never stopped."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, GradientAccumulationScheduler
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from torch import Tensor
from torchmetrics import Metric

from lit_cnn.runs.format import CHECKPOINT_KEY
from lit_cnn.training.schedule import planned_length
from lit_cnn.training.trainer_settings import compare_trainer, trainer_settings

# Separates the random numbers of training steps from others that are derived from the same seed.
STEP_STREAM = 0x57E9


def step_seed(seed: int, epoch: int, batch: int) -> int:
    """Seed of the random numbers in one training step, for example those of dropout."""
    # The last number was that of the process. It stays so that a seed gives the same weights as before.
    return int(np.random.SeedSequence([STEP_STREAM, seed, epoch, batch, 0]).generate_state(1, np.uint64)[0])


class ExactResume(Callback):
    """Seeds each training step by its position, and saves what Lightning does not save of an unfinished epoch.

    - Each step seeds torch's generators from (seed, epoch, batch). Their state need not be saved. The order of the images is
      derived in the same way, see :class:`lit_cnn.data.loader.Loader`. All processes have the same random numbers, so that
      they can draw as one would, see :class:`lit_cnn.layers.Dropout`.
    - A checkpoint holds the planned length of the training, on which a schedule may depend, and the Trainer's settings.
    - A checkpoint holds the sums of the training metrics in this epoch, for each process.
    - A time limit that ends while gradients accumulate ends the training after their step.
    - Lightning's counters depend on the hook in which a checkpoint is saved. They are changed to one of three states: some
      batches are done; some batches are done and a validation is due; the epoch is over.

    Every Trainer that fits a :class:`lit_cnn.training.classifier.LitClassifier` has this callback. All processes must save
    together, after an optimiser step, not while gradients accumulate.
    """

    def __init__(self) -> None:
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        self._length: dict[str, Any] = {}
        self._trainer_settings: dict[str, Any] = {}
        self._resumes = False
        self._sums: list[dict[str, dict[str, Tensor]]] = []  # by process: metric sums of an unfinished epoch
        self._stop_is_due = False  # while gradients accumulate

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # Before a callback changes them.
        self._length, self._trainer_settings = planned_length(trainer), trainer_settings(trainer)
        if trainer.precision == "64-true":
            # Lightning converts the module after it has loaded the weights, which would be rounded to float32.
            pl_module.double()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        _seed(step_seed(self.seed, trainer.current_epoch, batch_idx), pl_module.device)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        # A Timer would end the training at once, and lose the gradients that a checkpoint does not hold.
        if trainer.fit_loop._should_accumulate():
            self._stop_is_due |= trainer.should_stop
            trainer.should_stop = False
        elif self._stop_is_due:
            trainer.should_stop = True

    # Metrics of an unfinished epoch

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        cut_short = _is_cut_short(trainer)
        unfinished = cut_short or _is_within_epoch(trainer)
        own = {name: _state(metric) for name, metric in _training_metrics(pl_module).items()} if unfinished else {}
        sums = [own]
        if unfinished and trainer.world_size > 1:
            sums = [{}] * trainer.world_size
            torch.distributed.all_gather_object(sums, own)
        checkpoint["lit_cnn_resume"] = {"seed": self.seed, "sums": sums}
        checkpoint["lit_cnn_resume"] |= {"length": self._length, "trainer": self._trainer_settings}
        loops = checkpoint["loops"]["fit_loop"]
        if cut_short:
            _reopen_epoch(loops, validated=_is_validated_here(trainer))
        elif unfinished:
            _within_epoch(loops, validation_due=_validation_is_due(trainer))

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        saved = checkpoint["lit_cnn_resume"]
        if trainer.state.fn == "fit" and saved["seed"] != self.seed:
            raise ValueError(
                f"the training began with seed {saved['seed']} and cannot be resumed with {self.seed}: "
                f"call seed_everything({saved['seed']}) first"
            )
        self.seed, self._sums = saved["seed"], saved["sums"]
        if trainer.state.fn == "fit":
            # What the training started from: a resumed network is made without.
            pl_module.hparams["weights"] = checkpoint.get(CHECKPOINT_KEY, {}).get("started_from")
            compare_trainer(saved.get("trainer", {}), self._trainer_settings, trainer.ckpt_path)
            self._resumes = True
            if trainer.max_steps != -1:
                _start_next_epoch(checkpoint["loops"]["fit_loop"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for callback in trainer.callbacks:
            if isinstance(callback, GradientAccumulationScheduler):
                # It sets this when an epoch starts, which a resumed one does not.
                trainer.accumulate_grad_batches = callback.get_accumulate_grad_batches(trainer.current_epoch)
        if self._resumes and was_stopped_early(trainer):
            trainer.should_stop = True  # as it was when the training ended
        sums, self._sums = self._sums, []
        metrics = _training_metrics(pl_module)
        if len(sums) == trainer.world_size:
            for name, state in sums[trainer.global_rank].items():
                _load_state(metrics[name], state)
        elif trainer.is_global_zero and any(sums):  # the number of processes has changed: the first one takes all sums
            for share in sums:
                for name, state in share.items():
                    _add_state(metrics[name], state)


def was_stopped_early(trainer: pl.Trainer) -> str | None:
    """Name of the callback that has ended a training before its length; None if none has."""
    stopping = [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]
    going_on = EarlyStoppingReason.NOT_STOPPED
    return next((type(one).__name__ for one in stopping if one.stopped_epoch or one.stopping_reason is not going_on), None)


def _seed(seed: int, device: torch.device) -> None:
    """Like ``torch.manual_seed``, which takes half a millisecond longer: it also records a seed for missing accelerators."""
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(seed)
        return
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _is_within_epoch(trainer: pl.Trainer) -> bool:
    if trainer.state.fn != "fit":
        return False
    progress = trainer.fit_loop.epoch_progress.current
    return progress.ready != progress.processed


def _is_cut_short(trainer: pl.Trainer) -> bool:
    """Whether the training has ended an epoch before its last batch, because of ``max_steps`` or a time limit."""
    if trainer.state.fn != "fit" or _is_within_epoch(trainer):
        return False
    return 0 < trainer.fit_loop.epoch_loop.batch_progress.current.ready < trainer.num_training_batches


def _training_metrics(pl_module: pl.LightningModule) -> dict[str, Metric]:
    return {name: metric for name, metric in pl_module.named_children() if isinstance(metric, Metric) and "train" in name}


def _state(metric: Metric) -> dict[str, Tensor]:
    state = {name: getattr(metric, name).detach().cpu().clone() for name in metric._defaults}
    return state | {"updates": torch.tensor(metric._update_count)}


def _load_state(metric: Metric, state: dict[str, Tensor]) -> None:
    for name in metric._defaults:
        setattr(metric, name, state[name].to(metric.device))
    metric._update_count = int(state["updates"])


def _add_state(metric: Metric, state: dict[str, Tensor]) -> None:
    own = _state(metric)
    _load_state(metric, {name: own[name] + state[name] for name in own})


def _validation_is_due(trainer: pl.Trainer) -> bool:
    """Whether a validation follows the last batch and has not ended yet."""
    loop = trainer.fit_loop.epoch_loop
    return trainer.validating or loop._should_check_val_fx(trainer.fit_loop._data_fetcher)


def _within_epoch(loops: dict[str, Any], validation_due: bool) -> None:
    """Makes the counters of an unfinished epoch independent of the hook in which they are saved."""
    batches = loops["epoch_loop.batch_progress"]
    for counts in (batches["total"], batches["current"]):
        counts["completed"] = counts["processed"] = counts["started"] = counts["ready"]
    validation = loops["epoch_loop.val_loop.batch_progress"]
    if validation_due:
        # Lightning resumes with the validation if one of its batches was started but not finished.
        for counts in (validation["total"], validation["current"]):
            counts.update(ready=1, started=1, processed=0, completed=0)
        validation["is_last_batch"] = False
    else:
        for counts in (validation["total"], validation["current"]):
            counts.update(ready=0, started=0, processed=0, completed=0)
        # Lightning counts this after the validation, which is not repeated.
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] += 1


def _is_validated_here(trainer: pl.Trainer) -> bool:
    """Whether a validation belongs behind the last batch, also if the training had not ended with it."""
    stop, trainer.should_stop = trainer.should_stop, False
    try:
        return _validation_is_due(trainer)
    finally:
        trainer.should_stop = stop


def _reopen_epoch(loops: dict[str, Any], validated: bool) -> None:
    """Makes Lightning resume within an epoch that it has closed before its last batch."""
    epochs = loops["epoch_progress"]
    for counts in (epochs["total"], epochs["current"]):
        counts["completed"] = counts["processed"] = counts["ready"] - 1
    _within_epoch(loops, validation_due=False)
    # The last batch is counted already, and once more where Lightning passes over the validation.
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 2 if validated else 1


def _start_next_epoch(loops: dict[str, Any]) -> None:
    """Makes Lightning start the next epoch if one is over: with ``max_steps``, it would otherwise repeat that one."""
    epochs, batches = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
    if epochs["current"]["processed"] != epochs["current"]["ready"] or not batches["current"]["ready"]:
        return
    for counts in (epochs["total"], epochs["current"]):
        counts["completed"] = counts["processed"]
    batches["current"].update(ready=0, started=0, processed=0, completed=0)
    batches["is_last_batch"] = False
    # As if one batch was never started: Lightning then neither validates nor skips a batch, but counts one more step.
    batches["total"]["started"] = batches["total"]["ready"] - 1
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
