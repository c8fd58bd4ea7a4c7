"""What a run shows while it trains: a bar on a terminal, a line for each epoch elsewhere."""

from __future__ import annotations

import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar, RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import RichProgressBarTheme


class EpochLines(ProgressBar):
    """Prints one line after each epoch."""

    def disable(self) -> None:
        self._shown = False

    def enable(self) -> None:
        self._shown = True

    def __init__(self) -> None:
        super().__init__()
        self._shown = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        if self._shown:
            print(*args, **kwargs, flush=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self.print(epoch_line(trainer))


class Bar(RichProgressBar):
    """The bar of the training batches, with the last epoch's line above it.

    Refreshing costs a small network dearly, so it moves every ``refresh_rate`` batches.
    """

    def __init__(self, refresh_rate: int = 50) -> None:
        theme = RichProgressBarTheme(metrics_format=".4f")
        super().__init__(refresh_rate=refresh_rate, leave=False, theme=theme)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        return {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.is_global_zero and self.progress is not None:
            self.progress.console.print(epoch_line(trainer), highlight=False)


def progress_bar() -> ProgressBar:
    """The one that fits where the output goes."""
    return Bar() if sys.stdout.isatty() else EpochLines()


def epoch_line(trainer: pl.Trainer) -> str:
    """``epoch 3/10 · train/loss 0.1234 · …``, from the metrics that there are."""
    metrics = trainer.callback_metrics
    parts = [f"epoch {trainer.current_epoch + 1}" + (f"/{trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else "")]
    parts += [
        f"{name} {float(metrics[name]):.4f}"
        for name in ("train/loss", "train/acc", "val/loss", "val/acc")
        if name in metrics
    ]
    if "train/images_per_s" in metrics:
        parts.append(f"{float(metrics['train/images_per_s']):,.0f} images/s")
    return " · ".join(parts)
