"""What makes a run that goes on end with the same bits as one that was never stopped."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torchmetrics import Metric

# Tells the random numbers of a training step from others that are drawn from the same seed.
STEP_STREAM = 0x57E9


def step_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """Seed of the random numbers in one training step of one process, dropout's for example."""
    return int(np.random.SeedSequence([STEP_STREAM, seed, epoch, batch, rank]).generate_state(1, np.uint64)[0])


class ExactResume(Callback):
    """Derives a step's random numbers from where it is, and keeps of an unfinished epoch what a checkpoint lacks.

    Every training step seeds torch's generators from (seed, epoch, batch, rank), so no state of theirs has to be saved. The
    order of the images is derived likewise, see :class:`lit_cnn.data.loader.Loader`. Saved with a checkpoint are the sums of
    the epoch's training metrics, of each process its own. And Lightning's counters, which depend on the hook that saved, are
    brought into one of three forms: so many batches are done; so many are done and the validation after them is due; the
    epoch is over.

    Added to every Trainer that fits a :class:`lit_cnn.training.classifier.LitClassifier`. A checkpoint must be saved when an
    optimiser step is done, not while gradients accumulate, and by all processes together.
    """

    def __init__(self) -> None:
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        self._sums: list[dict[str, dict[str, Tensor]]] = []  # of the metrics, by process; of an epoch that was unfinished

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        _seed(step_seed(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank), pl_module.device)

    # Metrics of an unfinished epoch

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        unfinished = _is_within_epoch(trainer)
        own = {name: _state(metric) for name, metric in _training_metrics(pl_module).items()} if unfinished else {}
        sums = [own]
        if unfinished and trainer.world_size > 1:
            sums = [{}] * trainer.world_size
            torch.distributed.all_gather_object(sums, own)
        checkpoint["lit_cnn_resume"] = {"seed": self.seed, "sums": sums}
        loops = checkpoint["loops"]["fit_loop"]
        if unfinished:
            _within_epoch(loops, validation_due=_validation_is_due(trainer))
        elif trainer.state.fn == "fit" and trainer.max_steps != -1:
            _between_epochs(loops)

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        saved = checkpoint["lit_cnn_resume"]
        self.seed, self._sums = saved["seed"], saved["sums"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        sums, self._sums = self._sums, []
        metrics = _training_metrics(pl_module)
        if len(sums) == trainer.world_size:
            for name, state in sums[trainer.global_rank].items():
                _load_state(metrics[name], state)
        elif trainer.is_global_zero and any(sums):  # of another number of processes: the first continues all of them
            for share in sums:
                for name, state in share.items():
                    _add_state(metrics[name], state)


def _seed(seed: int, device: torch.device) -> None:
    """As ``torch.manual_seed``, which takes half a millisecond to note the stack for each accelerator that is not there."""
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
    """Whether the validation after the last batch has not ended yet."""
    loop = trainer.fit_loop.epoch_loop
    return trainer.validating or loop._should_check_val_fx(trainer.fit_loop._data_fetcher)


def _within_epoch(loops: dict[str, Any], validation_due: bool) -> None:
    """Brings the counters of an unfinished epoch into a form that does not depend on the hook in which they were saved."""
    batches = loops["epoch_loop.batch_progress"]
    for counts in (batches["total"], batches["current"]):
        counts["completed"] = counts["processed"] = counts["started"] = counts["ready"]
    validation = loops["epoch_loop.val_loop.batch_progress"]
    if validation_due:
        # Lightning validates first when a batch of the validation was begun and not finished; none was finished here.
        for counts in (validation["total"], validation["current"]):
            counts.update(ready=1, started=1, processed=0, completed=0)
        validation["is_last_batch"] = False
    else:
        for counts in (validation["total"], validation["current"]):
            counts.update(ready=0, started=0, processed=0, completed=0)
        # Counted after validation, which is not run again.
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] += 1


def _between_epochs(loops: dict[str, Any]) -> None:
    """Lets the next epoch begin: with ``max_steps``, Lightning would take up the last one, which is over, once more."""
    epochs, batches = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
    for counts in (epochs["total"], epochs["current"]):
        counts["completed"] = counts["processed"]
    batches["current"].update(ready=0, started=0, processed=0, completed=0)
    batches["is_last_batch"] = False
    # As if a batch had not been begun: Lightning then neither validates nor skips, and counts one step more.
    batches["total"]["started"] = batches["total"]["ready"] - 1
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
