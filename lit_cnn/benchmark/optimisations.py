"""What each means of speed gives: ``lit-cnn fit`` or ``validate`` without it, beside the same with all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

import lit_cnn.system.memory
import lit_cnn.training.metrics
from lit_cnn.benchmark.case import Case
from lit_cnn.training.precision import computes_in_bfloat16


class Contiguous(Callback):
    """Puts channels before rows and columns again, in the weights and in every batch."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # A copy: where there is one channel, or one row and column, contiguous() leaves strides that torch takes for
        # channels last, and then the whole network computes so.
        for parameter in pl_module.network.parameters():
            parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
        data = trainer.datamodule
        preprocess = data.on_after_batch_transfer

        def preprocess_to_contiguous(batch: Any, dataloader_idx: int) -> Any:
            batch = preprocess(batch, dataloader_idx)
            return batch._replace(images=batch.images.clone(memory_format=torch.contiguous_format))

        data.on_after_batch_transfer = preprocess_to_contiguous


def _without_kept_memory() -> None:
    # The command takes it from there when it starts.
    lit_cnn.system.memory.keep_freed_memory = bool


def _without_deferred_metrics() -> None:
    lit_cnn.training.metrics.NUM_PENDING_LOGITS = 1


# What leaves a means out: options of the command, and what is changed before it runs.
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


def leave_out(means: str) -> list[str]:
    """Changes what has to be changed in this process, and returns the options for the command."""
    if means in CHANGES:
        CHANGES[means]()
    return OPTIONS.get(means, [])


def measure_optimisations(case: Case, repeats: int, run_arm: Callable[[str, Case], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Measures a case without each means by turns; prints a line for each.

    Returns:
        Images per second of every round, with all means under ``all``, and how many times as fast these are: the median of
        neighbours in time.
    """
    names = [name for name in OPTIMISATIONS[case.phase] if name != "bfloat16" or computes_in_bfloat16(case.device)]
    speeds: dict[str, list[float]] = {name: [] for name in ("all", *names)}
    for _ in range(repeats):
        for name in speeds:
            without = replace(case, without="" if name == "all" else name)
            speeds[name].append(run_arm("lit_cnn", without)["images_per_s"])
    size, speed = case.image_size, statistics.median(speeds["all"])
    print(f"\n{case.model} at {size}×{size}, {case.phase}: {speed:,.0f} images/s")
    found: dict[str, dict[str, Any]] = {"all": {"images_per_s": speeds["all"]}}
    for name in names:
        gain = statistics.median(ours / less for ours, less in zip(speeds["all"], speeds[name], strict=True))
        found[name] = {"images_per_s": speeds[name], "gain": gain}
        print(f"  without {name:18} {statistics.median(speeds[name]):>10,.0f} images/s, gain {gain:.2f}", flush=True)
    return found
