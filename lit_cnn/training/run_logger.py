"""Writes what TensorBoard shows of a run. Nothing that fails here ends a training."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only, rank_zero_warn

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# Values that are drawn as two curves in one chart: the folder of the curve, the name of the chart.
CURVES = {
    "train/loss": ("training", "curves/loss"),
    "val/loss": ("validation", "curves/loss"),
    "train/acc": ("training", "curves/accuracy"),
    "val/acc": ("validation", "curves/accuracy"),
}


class RunLogger(TensorBoardLogger):
    """Writes TensorBoard's event files directly into the run's folder, and those of the curves into ``curves/`` there.

    TensorBoard draws values of the same name in one chart only if they are in different folders.

    What cannot be written or drawn is left out: there is one warning, and the training continues.

    Args:
        run_folder: The folder.
        purge_step: Step from which a run is resumed: TensorBoard hides what was logged earlier for this and later steps.
    """

    def __init__(self, run_folder: str | Path, purge_step: int | None = None) -> None:
        super().__init__(save_dir=run_folder, name="", version="", default_hp_metric=False, purge_step=purge_step)
        self._purge_step = purge_step
        self.step: int | None = None  # during an evaluation: the step after which its weights were saved
        self._has_failed = self._has_no_file = False
        self._curves: dict[str, SummaryWriter] = {}
        if purge_step is not None:
            _wait_for_next_second(Path(run_folder))

    @contextmanager
    def tolerating(self) -> Iterator[None]:
        """Turns an error within this context into a warning, the first time, and into nothing later."""
        try:
            yield
        except Exception as error:  # whatever fonts, files, memory and libraries can raise
            if not self._has_failed:
                self._has_failed = True
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                rank_zero_warn(f"the dashboard is incomplete, the training is not affected: {reason}")

    @property
    def experiment(self) -> Any:
        """TensorBoard's writer; one that writes nothing in other processes than the first, and if no file can be made."""
        if not self._has_no_file:
            self._has_no_file = True
            with self.tolerating():
                _hide_failures_of_threads()
                writer = super().experiment
                self._has_no_file = False
                return writer
        return DummyLogger().experiment

    @property
    def writer(self) -> SummaryWriter | None:
        """TensorBoard's writer; None if there is none that writes."""
        writer = self.experiment
        return None if rank_zero_only.rank or self._has_no_file else writer

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds a point to each chart."""
        with self.tolerating():
            # Lightning adds the number of the epoch, which would be the first chart but one.
            shown = {name: value for name, value in metrics.items() if name != "epoch"}
            super().log_metrics(shown, step if self.step is None else self.step)
            if self.step is None:
                for name in CURVES.keys() & metrics.keys():
                    folder, chart = CURVES[name]
                    self._writer_of_curve(folder).add_scalar(chart, metrics[name], step)

    @rank_zero_only
    def log_series(self, chart: str, values: Mapping[str, float], step: int) -> None:
        """Adds a point to each of several curves in one chart, for example one for each layer."""
        with self.tolerating():
            for name, value in values.items():
                # Not the name itself, which may be that of another curve, or none that a folder can have.
                self._writer_of_curve("layer_" + re.sub(r"[^\w.-]", "-", name)).add_scalar(chart, value, step)

    def _writer_of_curve(self, folder: str) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter

        if folder not in self._curves:
            self._curves[folder] = SummaryWriter(str(Path(self.log_dir, "curves", folder)), purge_step=self._purge_step)
        return self._curves[folder]

    @rank_zero_only
    def save(self) -> None:
        """Writes the events, but no hparams.yaml: the run has a config.yaml."""
        with self.tolerating():
            self.experiment.flush()
            for writer in self._curves.values():
                writer.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Closes the files. A later evaluation opens others."""
        for writer in self._curves.values():
            with self.tolerating():
                writer.close()
        with self.tolerating():
            super().finalize(status)


def _hide_failures_of_threads() -> None:
    """Keeps a thread of TensorBoard that cannot write from printing a traceback: its next caller gets the error too."""
    if getattr(threading.excepthook, "hides_tensorboard", False):
        return
    before = threading.excepthook

    def hook(failure: Any) -> None:
        if type(failure.thread).__name__ != "_AsyncWriterThread":
            before(failure)

    hook.hides_tensorboard = True  # type: ignore[attr-defined]
    threading.excepthook = hook


def _wait_for_next_second(run_folder: Path) -> None:
    """TensorBoard reads the files of a run in the order of their names, which begin with the second of their creation."""
    files = [*run_folder.glob("events.out.tfevents.*"), *run_folder.glob("curves/*/events.out.tfevents.*")]
    if max((int(path.name.split(".")[3]) for path in files), default=0) == int(time.time()):
        time.sleep(1)
