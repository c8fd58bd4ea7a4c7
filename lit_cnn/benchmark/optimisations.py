"""The effect of each optimisation: ``lit-cnn fit`` or ``validate`` without it, beside the same with all of them."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

import lit_cnn.system.memory
import lit_cnn.training.metrics
from lit_cnn.analysis.provenance import Report
from lit_cnn.benchmark.case import Case
from lit_cnn.benchmark.process import run_arm
from lit_cnn.training.precision import computes_in_bfloat16


class Contiguous(Callback):
    """Undoes channels last: weights and batches are stored channel by channel."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # A copy, since contiguous() may keep strides that torch takes for channels last: those of one channel, or of one
        # row and column. The whole network would then compute in channels last.
        for parameter in pl_module.network.parameters():
            parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
        data = trainer.datamodule
        preprocess = data.on_after_batch_transfer

        def preprocess_to_contiguous(batch: Any, dataloader_idx: int) -> Any:
            batch = preprocess(batch, dataloader_idx)
            return batch._replace(images=batch.images.clone(memory_format=torch.contiguous_format))

        data.on_after_batch_transfer = preprocess_to_contiguous


def _without_kept_memory() -> None:
    # The command reads this name when it starts.
    lit_cnn.system.memory.keep_freed_memory = bool


def _without_deferred_metrics() -> None:
    lit_cnn.training.metrics.NUM_PENDING_LOGITS = 1


# How an optimisation is left out: by options of the command, or by a change before it runs.
OPTIONS = {
    "channels last": [f"--trainer.callbacks+={__name__}.Contiguous"],
    "bfloat16": ["--trainer.precision=32-true"],
    "fused optimiser": ['--model.optimizer_args={"momentum": 0.9, "nesterov": true, "foreach": true}'],
}
CHANGES = {"kept memory": _without_kept_memory, "deferred metrics": _without_deferred_metrics}
OPTIMISATIONS = {
    "train": ("channels last", "bfloat16", "fused optimiser", "kept memory"),
    "eval": ("channels last", "bfloat16", "kept memory", "deferred metrics"),
}


def leave_out(optimisation: str) -> list[str]:
    """Applies the change in this process, if there is one, and returns the options for the command."""
    if optimisation in CHANGES:
        CHANGES[optimisation]()
    return OPTIONS.get(optimisation, [])


def measure_optimisations(case: Case, repeats: int, report: Report) -> dict[str, dict[str, Any]]:
    """Measures a case with all optimisations and without each of them, alternately.

    Returns:
        Images per second of every round; ``all`` is the speed with all optimisations. ``gain`` is the speed with all
        divided by the speed without one: the median of the ratios of each round.
    """
    names = [name for name in OPTIMISATIONS[case.phase] if name != "bfloat16" or computes_in_bfloat16(case.device)]
    speeds: dict[str, list[float]] = {name: [] for name in ("all", *names)}
    for number in range(repeats):
        for name, rounds in speeds.items():
            rounds.append(run_arm("lit_cnn", replace(case, without="" if name == "all" else name))["images_per_s"])
            label = "all optimisations" if name == "all" else f"without {name}"
            report(f"{case.model}, round {number + 1} of {repeats}: {label}, {rounds[-1]:,.0f} images/s")
    measured: dict[str, dict[str, Any]] = {"all": {"images_per_s": speeds["all"]}}
    for name in names:
        gain = statistics.median(ours / less for ours, less in zip(speeds["all"], speeds[name], strict=True))
        measured[name] = {"images_per_s": speeds[name], "gain": gain}
    return measured
