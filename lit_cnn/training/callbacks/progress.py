"""What a run shows while it trains: a bar on a terminal, a line for each epoch everywhere."""

from __future__ import annotations

import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Introduction(Callback):
    """Says what begins to train, once all of it has been found to fit.

    Args:
        seed: That of the run.
    """

    def __init__(self, seed: int | bool | None) -> None:
        self.seed = seed

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says what begins to train, once all of it has been found to fit."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        size = sum(parameter.numel() for parameter in pl_module.network.parameters())
        device = trainer.strategy.root_device.type
        print(
            f"{type(pl_module).__name__} ({pl_module.hparams.get('variant', 'no variants')}, {size:,} parameters) on "
            f"{data.name} at {data.image_size}×{data.image_size}; "
            f"{trainer.world_size} × {device}, {trainer.precision}; seed {self.seed}",
            flush=True,
        )
        if pl_module.pretrained:
            theirs = "theirs were" if pl_module.normalisation else "this dataset's are, for they do not say how theirs were"
            print(f"{pl_module.pretrained}; images normalised as {theirs}")
        if pl_module.hparams["freeze"] != "none":
            learning = sum(parameter.numel() for parameter in pl_module.network.parameters() if parameter.requires_grad)
            started = pl_module.pretrained or trainer.ckpt_path
            print(
                f"freeze={pl_module.hparams['freeze']}: {learning:,} of the parameters learn"
                + ("" if started else "; what is frozen is random, without --model.weights"),
                flush=True,
            )


class EpochLines(ProgressBar):
    """Prints one line after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = True
        self._validated = False

    def disable(self) -> None:
        """Shows nothing: Lightning asks this of all processes but the first."""
        self._shown = False

    def enable(self) -> None:
        self._shown = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        if self._shown:
            print(*args, **kwargs, flush=True)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.print(epoch_line(trainer, self._validated))


class Bar(EpochLines):
    """Adds a bar of the epoch's batches below the lines.

    A redraw costs a small network dearly, so a thread redraws ``refresh_per_second`` times a second and no more.
    """

    def __init__(self, refresh_per_second: float = 4) -> None:
        super().__init__()
        self.refresh_per_second = refresh_per_second
        self._progress: Progress | None = None

    def print(self, *args: Any, **kwargs: Any) -> None:
        if self._shown and self._progress:
            self._progress.console.print(*args, highlight=False, soft_wrap=True)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        if not self._shown:
            return
        if self._progress is None:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            console = Console(file=sys.stdout)
            self._progress = Progress(*columns, console=console, transient=True, refresh_per_second=self.refresh_per_second)
            self._task = self._progress.add_task("")
            self._progress.start()
        batches = self.total_train_batches
        total = int(batches) if batches != float("inf") else None
        self._progress.reset(self._task, total=total, description=f"epoch {trainer.current_epoch + 1}")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._progress:
            self._progress.update(self._task, completed=batch_idx + 1)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress:
            self._progress.stop()
            self._progress = None


def progress_bar() -> ProgressBar:
    """The one that fits where the output goes."""
    return Bar() if sys.stdout.isatty() else EpochLines()


def epoch_line(trainer: pl.Trainer, validated: bool) -> str:
    """``epoch 3/10 · train/loss 0.1234 · …``, from the metrics that there are."""
    metrics = trainer.callback_metrics
    parts = [f"epoch {trainer.current_epoch + 1}" + (f"/{trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else "")]
    parts += [
        f"{name} {float(metrics[name]):.4f}"
        for name in ("train/loss", "train/acc", "val/loss", "val/acc")
        if name in metrics and (validated or name.startswith("train/"))
    ]
    if "train/images_per_s" in metrics:
        parts.append(f"{float(metrics['train/images_per_s']):,.0f} images/s")
    return " · ".join(parts)
