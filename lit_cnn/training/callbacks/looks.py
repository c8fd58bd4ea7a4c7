"""What an evaluation leaves in the run: a look at test images in its ledger, and files about classes and mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, WeightAveraging
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.runs.checkpoint_file import peek
from lit_cnn.runs.folder import OTHER_DATA, Run
from lit_cnn.runs.ledger import ImageSet, Looks
from lit_cnn.runs.results_file import changed_results
from lit_cnn.runs.search import find_by_id, run_of_checkpoint
from lit_cnn.training.class_scores import ClassScores, Predictions, wilson
from lit_cnn.training.evaluation_files import PREDICTIONS, write_evaluation
from lit_cnn.training.kept_predictions import keep_predictions, number_of_images
from lit_cnn.training.origin import Origin, data_of, name_of
from lit_cnn.training.run_logger import RunLogger


class LookRecorder(Callback):
    """Enters a look at test images into the ledger of the run and that of all runs, and writes ``results.json``.

    A validation of the run's best checkpoint on all its validation images replaces the ``val/`` scores there.

    Every Trainer that tests a :class:`lit_cnn.training.classifier.LitClassifier` has this callback. If the run of the
    network is not known, a warning says that the look is not entered. An interrupted test has no scores and is not entered.

    Scores on other data than those of the run, in another size, or with test-time augmentation, are kept apart in
    ``results.json``.

    A test also writes the files of :func:`lit_cnn.training.evaluation_files.write_evaluation` into ``test/`` of the run,
    ``Trainer.validate`` into ``validation/``. Those of other data, and of another checkpoint than the run's best, are in a
    folder of their own below it, with their predictions. The others are in ``predictions/`` of the run.

    Args:
        run: The tested run; None to find it by the checkpoint.
        root: Folder of all runs, in which it is looked for.
    """

    def __init__(self, run: Run | None = None, root: str = "runs") -> None:
        self.run = run
        self.root = root
        self.looks: Looks | None = None  # after a test of a known run
        self.problem: str | None = None  # why the last look was not entered
        self.scores: dict[str, ClassScores] = {}  # of the classes, by split, after an evaluation
        self._evaluated: Run | None = None  # in the first process, during an evaluation
        self._predictions: Predictions | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            return
        for callback in trainer.callbacks:
            if isinstance(callback, WeightAveraging):
                # After a training, it would replace the averaged weights of a checkpoint by those in training.
                callback._average_model = None

    # The end of a training

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Without a checkpoint, the network is evaluated as it was trained now: other data are shown to it likewise."""
        if pl_module.origin is None and data_of(trainer) is not None:
            pl_module.origin = Origin.of_training(pl_module)
            pl_module.normalisation = pl_module.origin.normalisation or pl_module.normalisation

    # Any evaluation

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer, pl_module, "test")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._start(trainer, pl_module, "val")
        else:  # a callback that keeps a checkpoint may want them, and comes later
            pl_module.metrics["val"].predictions = None

    def _start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str) -> None:
        origin = pl_module.origin
        self.scores, self._predictions, self._evaluated = {}, None, None
        if trainer.is_global_zero:
            self._evaluated = self.run or _find_run(origin, self.root)
        writes_files = trainer.strategy.broadcast(self._evaluated is not None and not trainer.fast_dev_run)
        pl_module.metrics[split].predictions = Predictions() if writes_files else None
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger):
                logger.step = origin.step if origin else None

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._predictions = pl_module.metrics["test"].gather_predictions()

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._predictions = pl_module.metrics["val"].gather_predictions()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._end(trainer, pl_module, "val")

    def _end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger):
                logger.step = None
        counts = pl_module.metrics[split].class_counts
        if counts is None or not trainer.is_global_zero:
            return
        data = data_of(trainer)
        self.scores = {split: ClassScores.of(counts, data)}
        run, predictions, self._predictions = self._evaluated, self._predictions, None
        if run is None or predictions is None:
            return
        folder, origin = _folder_for(run, trainer, pl_module, split, len(predictions)), pl_module.origin
        usual = folder == run.evaluations[split]
        checkpoint = _relative(origin.path, run) if origin and origin.path else None
        path, step = run.predictions[split] if usual else folder / PREDICTIONS, origin.step if origin else None
        keep_predictions(path, predictions, data, split, checkpoint, step)
        try:
            if usual and split == "val":
                values = trainer.callback_metrics.items()
                scores = {name: float(value) for name, value in values if name.startswith("val/")}
                source = {"val/checkpoint": checkpoint, "val/data": name_of(data), "val/images": len(predictions)}
                source["val/digest"] = getattr(data, "digest", None)
                run.add_results(scores | source, without=("val/",))
            images = getattr(data, "splits", {}).get(split)
            write_evaluation(folder, predictions, self.scores[split], str if images is None else images.name)
        except Exception as error:  # a full disk, or data of a user's own: the scores are there all the same
            reason = " ".join(str(error).split())[:200]
            rank_zero_warn(f"the files of the evaluation are not all written into {run.path}: {reason}")

    # A look at test images

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.looks = self.problem = None
        if trainer.is_global_zero:
            self._enter(trainer, pl_module)
        self._end(trainer, pl_module, "test")

    def _enter(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        origin, data = pl_module.origin, data_of(trainer)
        scores = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
        scores = with_interval(scores)
        images = ImageSet(name_of(data), getattr(data, "test_digest", None))
        look = f"this look at {scores.get('test/images', 0):,.0f} test images{f' of {images.name}' if images.name else ''}"
        run = self._evaluated
        if run is None:
            tested = origin.path if origin and origin.path else "the network"
            self._warn(f"{look} is in no ledger: {tested} belongs to no known run")
            return
        checkpoint = _relative(origin.path, run) if origin and origin.path else None
        epoch, step = (origin.epoch, origin.step) if origin else (None, trainer.global_step)
        try:
            augmented = {"test/tta": pl_module.tta} if pl_module.tta else {}
            self.looks = run.enter_look(checkpoint, scores | augmented, images, epoch, step)
            if not trainer.fast_dev_run:
                self._write_results(run, trainer, pl_module, scores | augmented, images, checkpoint)
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
        scores: dict[str, Any],
        images: ImageSet,
        checkpoint: str | None,
    ) -> None:
        assert self.looks is not None
        source = {"test/checkpoint": checkpoint, "test/data": images.name, "test/digest": images.digest}
        results = {**scores, "test/looks": self.looks.by_run, **source}
        name = _name_of_others(trainer, pl_module, "test", round(scores["test/images"]))
        if name is None:
            run.add_results(results, without=("test/",))
            return
        with changed_results(run.results) as content:
            others = content.setdefault(OTHER_DATA, {})
            if name in others and others[name].get("test/digest") != images.digest:
                name += f" ({str(images.digest)[:8]})"
            others[name] = results


def _name_of_others(trainer: pl.Trainer, pl_module: pl.LightningModule, split: str, num_images: int) -> str | None:
    """Name of an evaluation that is not the usual one: on other images than the run's split, or with test-time augmentation.

    None for the usual one.
    """
    data, origin = data_of(trainer), pl_module.origin
    total = number_of_images(data, split)
    is_partial = total is not None and num_images < total
    if data is not None and not is_partial and not pl_module.tta and not (origin and origin.describe_evaluation(data)):
        return None
    name, size = name_of(data) or "unknown data", getattr(data, "image_size", None)
    if origin and size not in (None, origin.data.get("image_size", size)):
        name += f" at {size}×{size}"
    if is_partial:
        name += f", {num_images:,} of {total:,} images"
    return f"{name}, tta {pl_module.tta}" if pl_module.tta else name


def _folder_for(run: Run, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str, num_images: int) -> Path:
    """Where the files of an evaluation lie: those of the best checkpoint on the run's own images come first."""
    others, origin = _name_of_others(trainer, pl_module, split, num_images), pl_module.origin
    parts = [others] if others else []
    usual = run.checkpoint
    if origin and origin.path and not (usual and Path(origin.path).resolve() == usual.resolve()):
        checkpoint = Path(origin.path).stem
        if usual is None or checkpoint != usual.stem:
            parts.append(checkpoint)
        elif origin.step != peek(usual).get("global_step"):  # a copy that is older than the file of this name
            parts.append(f"{checkpoint}_step{origin.step}")
    return run.evaluation_folder(split, "_".join(parts))


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
    low, high = wilson(np.array(round(scores["test/acc"] * images)), np.array(images))
    return {**scores, "test/acc_low": float(low), "test/acc_high": float(high)}
