"""What is printed before a training starts: the network, the data, the settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.data.manifest import count
from lit_cnn.runs.monitor import describe_monitor
from lit_cnn.system.text import printable
from lit_cnn.training.callbacks.averaging import EMA
from lit_cnn.training.callbacks.checkpointing import Best
from lit_cnn.training.class_scores import names_of_classes

# So many classes are listed with their images.
NUM_LISTED = 10


class Introduction(Callback):
    """Prints what will be trained, after all checks.

    Args:
        seed: Seed of the run.
        notes: Further lines, about the settings.
    """

    def __init__(self, seed: int | bool | None, notes: Sequence[str] = ()) -> None:
        self.seed = seed
        self.notes = notes

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        num_parameters = sum(parameter.numel() for parameter in pl_module.network.parameters())
        device = trainer.strategy.root_device.type
        threads = f" with {count(torch.get_num_threads(), 'thread')}" if device == "cpu" else ""
        print(
            f"{type(pl_module).__name__} ({pl_module.hparams.get('variant', 'no variants')}, {num_parameters:,} parameters) "
            f"on {printable(data.name)} at {data.image_size}×{data.image_size}; "
            f"{trainer.world_size} × {device}{threads}, {trainer.precision}; seed {self.seed}"
        )
        print(describe_settings(trainer, pl_module))
        if selection := describe_selection(trainer):
            print(selection)
        for line in (*self.notes, *describe_splits(data)):
            print(line)
        if pl_module.class_weights is not None:
            print(describe_class_weights(data, pl_module.class_weights.tolist()))
        elif getattr(data, "balance", "none") == "sampler":
            print("sampler: each epoch draws as many images with replacement, every class equally likely")
        if pl_module.pretrained:
            source = "for these weights" if pl_module.normalisation else "for this dataset: the weights do not say how"
            print(f"{pl_module.pretrained}; images normalised as {source}")
        if pl_module.hparams["freeze"] != "none":
            trained = sum(parameter.numel() for parameter in pl_module.network.parameters() if parameter.requires_grad)
            random = not (pl_module.pretrained or trainer.ckpt_path)
            warning = "; the frozen part is random without --model.weights" if random else ""
            share = pl_module.hparams["unfreeze_at"]
            until = "" if share is None else f", all from {share:.4g} of the training on"
            print(f"freeze={pl_module.hparams['freeze']}: {trained:,} parameters are trained{until}{warning}")
        print(end="", flush=True)

    # Not earlier: the number of batches is known only now.
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        accumulated, batches = trainer.accumulate_grad_batches, trainer.num_training_batches
        if accumulated > batches and not trainer.fast_dev_run:
            rank_zero_warn(
                f"accumulate_grad_batches={accumulated}, which is more than an epoch has ({batches}): "
                f"each step divides its gradients by {accumulated} all the same; set it to at most {batches}"
            )


def describe_splits(data: Any) -> list[str]:
    """A line for each split that is known before a test: its images, by class."""
    if not hasattr(data, "counts"):
        return []
    lines = []
    for split, counts in data.counts().items():
        if len(counts) <= NUM_LISTED:
            pairs = zip(data.class_names, counts, strict=True)
            by_class = ", ".join(f"{printable(name)} {number:,}" for name, number in pairs)
        else:
            by_class = f"{min(counts):,} to {max(counts):,} in each of {len(counts)} classes"
        lines.append(f"{split}: {sum(counts):,} images ({by_class})")
    return lines


def describe_class_weights(data: Any, weights: Sequence[float]) -> str:
    """The weights of the classes in the loss, in one line."""
    if len(weights) > NUM_LISTED:
        return f"class weights: {min(weights):.3g} to {max(weights):.3g} for {len(weights)} classes"
    names = names_of_classes(data, len(weights))
    return f"class weights: {', '.join(f'{printable(name)} {w:.3g}' for name, w in zip(names, weights, strict=True))}"


def describe_settings(trainer: pl.Trainer, pl_module: pl.LightningModule) -> str:
    """The settings that decide the training, in one line."""
    hparams, data = pl_module.hparams, trainer.datamodule
    defaults = trainer.optimizers[0].defaults
    momentum = f" with momentum {defaults['momentum']:g}" if defaults.get("momentum") else ""
    scale = hparams["backbone_lr_scale"]
    scaled = "" if scale == 1 else f", times {scale:g} below the last layer"
    warm_up = f" after a warm-up of {hparams['warmup_ratio']:.0%}" if hparams["warmup_ratio"] else ""
    of_norms = hparams["norm_weight_decay"]
    norms = "" if of_norms is None else f" ({of_norms:g} for biases and normalisation)"
    parts = [
        f"{hparams['optimizer']}{momentum}",
        f"learning rate {hparams['lr']:g} ({hparams['schedule']}{warm_up}{scaled})",
        f"weight decay {defaults.get('weight_decay', 0):g}{norms}",
        f"batches of {data.batch_size} images of {data.image_size}×{data.image_size}",
        f"augmentation: {'none (overfit_batches)' if trainer.overfit_batches else describe_augmentation(data)}",
        _length(trainer),
    ]
    return ", ".join(parts)


def describe_selection(trainer: pl.Trainer) -> str:
    """Which weights are kept, and what ends the training early, as far as it is not the default."""
    parts = []
    for callback in trainer.callbacks:
        if isinstance(callback, EMA):
            parts.append(f"the average of the weights (decay {callback.decay:g}) is validated and kept")
        elif isinstance(callback, Best) and callback.judged_by in ("val/loss", "val/f1"):
            parts.append(f"best checkpoint: {describe_monitor(callback.judged_by)}")
        elif isinstance(callback, EarlyStopping):
            end = f"without a {'lower' if callback.mode == 'min' else 'higher'} {callback.monitor}"
            parts.append(f"stops after {count(callback.patience, 'validation')} {end}")
    return "; ".join(parts)


def describe_augmentation(data: Any) -> str:
    """How training images are changed at random."""
    augmentation = getattr(data, "augmentation", None)
    described = augmentation.describe() if augmentation else "none"
    framed = getattr(data, "frame", 1.0) > 1
    return f"{described}, within frames of {data.native_size}×{data.native_size}" if framed else described


def _length(trainer: pl.Trainer) -> str:
    parts = [f"{trainer.max_epochs} epoch{'s' if trainer.max_epochs > 1 else ''}"] if (trainer.max_epochs or 0) > 0 else []
    parts += [f"at most {trainer.max_steps} steps"] if trainer.max_steps != -1 else []
    return ", ".join(parts) or "no limit of epochs"
