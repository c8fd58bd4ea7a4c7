"""``--diagnose``: measures activations, gradients and updates of each layer during training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor
from torch.nn import functional as F

from lit_cnn.network.signs import ActivationStatistics, gradient_rms, measure_forward, weight_change, weighted_layers
from lit_cnn.runs.diagnostics import MEASURES, Sign, append_signs, keep_signs_before, read_signs
from lit_cnn.runs.folder import Run
from lit_cnn.training.run_logger import RunLogger
from lit_cnn.training.start_faults import find_start_faults

EVERY = 50
# Layers in one chart of TensorBoard, spread from the first to the last. Each has a file of its own there.
NUM_SERIES = 8
# A full disk; a file of rows that somebody has damaged.
FAILURES_OF_FILES = (OSError, ValueError)
# Too little memory; a font that FreeType cannot read.
FAILURES_OF_PICTURES = (*FAILURES_OF_FILES, MemoryError, RuntimeError)


class VitalSigns(Callback):
    """Measures the layers at the start and every few steps, and warns at the start if something is wrong.

    A measured step has one more forward pass, which is neither compiled nor changes anything: the training ends with the
    same weights. All other steps cost nothing. Only the first process records; it measures its share of the batch. The
    gradient is that of the whole batch, of all accumulated batches, and not clipped.

    Writes ``diagnostics.csv`` and, at the end, ``diagnostics.png`` into the run, and charts ``diagnostics/…`` for
    TensorBoard. What cannot be written does not end the training.

    Args:
        every: Steps of the optimiser from one measurement to the next.
        run: The run to write; None to warn only.

    Raises:
        ValueError: If ``every`` is below 1.
    """

    def __init__(self, every: int = EVERY, run: Run | None = None) -> None:
        if every < 1:
            raise ValueError(f"diagnose must be a number of steps of at least 1, got {every}")
        self.every = every
        self.run = run
        self._batch: Any = None  # of a step that is to be measured
        self._measured: tuple[dict[str, ActivationStatistics], dict[str, float], dict[str, Tensor]] | None = None
        self._step = 0
        self._has_failed = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._batch = self._measured = None
        if self.run and trainer.is_global_zero:
            self._try_to_write(lambda run: keep_signs_before(run.diagnostics, trainer.global_step))

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step % self.every == 0:
            self._batch = batch

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        if self._batch is None:
            return
        batch, self._batch = self._batch, None
        with trainer.precision_plugin.forward_context():
            # In all processes: a synchronised BatchNorm waits for the others.
            logits, statistics = measure_forward(pl_module.network, batch[0].to(pl_module.dtype))
        if not trainer.is_global_zero:
            return
        gradients = gradient_rms(pl_module.network)
        if trainer.global_step == 0:
            loss = float(F.cross_entropy(logits.float(), batch[1]))
            pretrained = getattr(pl_module, "pretrained", None) is not None
            for fault in find_start_faults(
                pl_module.network, statistics, gradients, loss, logits.shape[1], pretrained=pretrained
            ):
                rank_zero_warn(fault)
        weights = weighted_layers(pl_module.network)
        self._step = trainer.global_step
        self._measured = statistics, gradients, {name: weights[name].detach().clone() for name in gradients}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._measured is None:
            return
        (statistics, gradients, before), self._measured = self._measured, None
        signs = _join(self._step, pl_module, statistics, gradients, weight_change(pl_module.network, before))
        self._try_to_write(lambda run: append_signs(run.diagnostics, signs))
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger):
                for measure, values in _choose_series(signs).items():
                    logger.log_series(f"diagnostics/{measure}", values, self._step)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.run and trainer.is_global_zero and self.run.diagnostics.is_file():
            self._try_to_write(_write_picture, FAILURES_OF_PICTURES)

    def _try_to_write(self, write: Callable[[Run], None], failures: tuple[type[Exception], ...] = FAILURES_OF_FILES) -> None:
        """Warns, once, of what cannot be written."""
        if self.run is None or self._has_failed:
            return
        try:
            write(self.run)
        except failures as error:
            self._has_failed = True
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            rank_zero_warn(f"the diagnostics of {self.run.path} are incomplete, the training is not affected: {reason}")


def _join(
    step: int,
    pl_module: pl.LightningModule,
    statistics: Mapping[str, ActivationStatistics],
    gradients: Mapping[str, float],
    changes: Mapping[str, float],
) -> list[Sign]:
    """A row for each layer, in the order in which they run; layers that only training uses come last."""
    signs = []
    for name in [*statistics, *(name for name in gradients if name not in statistics)]:
        activation = statistics.get(name)
        class_name = activation.class_name if activation else type(pl_module.network.get_submodule(name)).__name__
        measures = (activation.mean, activation.sd, activation.dead) if activation else (None, None, None)
        signs.append(Sign(step, name, class_name, *measures, gradients.get(name), changes.get(name)))
    return signs


def _choose_series(signs: list[Sign]) -> dict[str, dict[str, float]]:
    """For each measure the values of a few layers with weights, or ReLUs, from the first to the last."""
    chosen = {}
    for measure in MEASURES:
        layers = [sign for sign in signs if (sign.dead if measure == "dead" else sign.gradient_rms) is not None]
        places = np.linspace(0, len(layers) - 1, min(NUM_SERIES, len(layers))).round().astype(int)
        values = {layers[place].layer: getattr(layers[place], measure) for place in places}
        chosen[measure] = {layer: value for layer, value in values.items() if value is not None}
    return chosen


def _write_picture(run: Run) -> None:
    from PIL import Image

    from lit_cnn.training.figures import draw_diagnostics

    partial = run.path / "diagnostics.partial.png"
    Image.fromarray(draw_diagnostics(read_signs(run.diagnostics))).save(partial)
    partial.replace(run.path / "diagnostics.png")
