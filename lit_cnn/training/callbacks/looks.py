"""Enters every look at test images into the ledger of the tested run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, WeightAveraging
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from scipy.stats import binomtest

from lit_cnn.runs.folder import OTHER_DATA, Run
from lit_cnn.runs.ledger import ImageSet, Looks
from lit_cnn.runs.search import find_by_id, run_of_checkpoint
from lit_cnn.training.origin import Origin, data_of, name_of


class LookRecorder(Callback):
    """Enters a look at test images into the ledger of the run and that of all runs, and writes ``results.json``.

    Every Trainer that tests a :class:`lit_cnn.training.classifier.LitClassifier` has this callback. If the run of the
    network is not known, a warning says that the look is not entered. An interrupted test has no scores and is not entered.

    Scores on other data than those of the run, or in another size, are kept apart in ``results.json``.

    Args:
        run: The tested run; None to find it by the checkpoint.
        root: Folder of all runs, in which it is looked for.
    """

    def __init__(self, run: Run | None = None, root: str = "runs") -> None:
        self.run = run
        self.root = root
        self.looks: Looks | None = None  # after a test of a known run
        self.problem: str | None = None  # why the last look was not entered

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            return
        for callback in trainer.callbacks:
            if isinstance(callback, WeightAveraging):
                # After a training, it would replace the averaged weights of a checkpoint by those in training.
                callback._average_model = None

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.looks = self.problem = None
        if not trainer.is_global_zero:
            return
        origin, data = pl_module.origin, data_of(trainer)
        scores = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
        scores = with_interval(scores)
        images = ImageSet(name_of(data), getattr(data, "test_digest", None))
        look = f"this look at {scores.get('test/images', 0):,.0f} test images{f' of {images.name}' if images.name else ''}"
        run = self.run or _find_run(origin, self.root)
        if run is None:
            tested = origin.path if origin and origin.path else "the network"
            self._warn(f"{look} is in no ledger: {tested} belongs to no known run")
            return
        checkpoint = _relative(origin.path, run) if origin and origin.path else None
        epoch, step = (origin.epoch, origin.step) if origin else (None, trainer.global_step)
        try:
            self.looks = run.enter_look(checkpoint, scores, images, epoch, step)
            if not trainer.fast_dev_run:
                self._write_results(run, trainer, pl_module, scores, images, checkpoint)
        except OSError as error:
            self._warn(f"{look} is not entered completely: {error}")

    def _warn(self, problem: str) -> None:
        self.problem = problem
        rank_zero_warn(problem)

    def _write_results(
        self,
        run: Run,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        scores: dict[str, float],
        images: ImageSet,
        checkpoint: str | None,
    ) -> None:
        assert self.looks is not None
        source = {"test/checkpoint": checkpoint, "test/data": images.name, "test/digest": images.digest}
        results = {**scores, "test/looks": self.looks.by_run, **source}
        if not _difference(trainer, pl_module):
            run.add_results(results, without=("test/",))
            return
        others = run.read_results().get(OTHER_DATA, {})
        name, data, origin = images.name or "unknown data", data_of(trainer), pl_module.origin
        size = getattr(data, "image_size", None)
        if origin and size not in (None, origin.data.get("image_size", size)):
            name += f" at {size}×{size}"
        if _is_partial(data, scores):
            name += f", {scores['test/images']:,.0f} of {data.num_test_images:,} images"
        if name in others and others[name].get("test/digest") != images.digest:
            name += f" ({str(images.digest)[:8]})"
        run.add_results({OTHER_DATA: others | {name: results}})


def _difference(trainer: pl.Trainer, pl_module: pl.LightningModule) -> str | None:
    """What sets a test apart from that of a run on its own images; None if nothing does."""
    data, origin = data_of(trainer), pl_module.origin
    if data is None:
        return "on data that are not known"
    if _is_partial(data, trainer.callback_metrics):
        return "on some of the images"
    return origin.describe_evaluation(data) if origin else None


def _is_partial(data: Any, scores: Mapping[str, Any]) -> bool:
    """Whether a test has seen less than all test images."""
    total = getattr(data, "num_test_images", None)
    return total is not None and "test/images" in scores and round(float(scores["test/images"])) < total


def _find_run(origin: Origin | None, root: str) -> Run | None:
    if origin and origin.path:
        return run_of_checkpoint(origin.path, root)
    return find_by_id(origin.run, root=root) if origin and origin.run else None


def _relative(path: str, run: Run) -> str:
    """Path of a checkpoint from the folder of its run; as it is if it lies elsewhere."""
    resolved, folder = Path(path).resolve(), run.path.resolve()
    return resolved.relative_to(folder).as_posix() if resolved.is_relative_to(folder) else path


def with_interval(scores: dict[str, Any]) -> dict[str, Any]:
    """Adds Wilson's 95 % interval of the test accuracy, if there is one: ``test/acc_low`` and ``test/acc_high``."""
    if not {"test/acc", "test/images"} <= scores.keys():
        return scores
    images = round(scores["test/images"])
    interval = binomtest(round(scores["test/acc"] * images), images).proportion_ci(method="wilson")
    return {**scores, "test/acc_low": float(interval.low), "test/acc_high": float(interval.high)}
