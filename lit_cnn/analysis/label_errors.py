"""Likely label errors: images whose class a network that never saw them doubts.

Source: Northcutt, Jiang and Chuang 2021, arXiv:1911.00068, "Confident learning: estimating uncertainty in dataset labels".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lit_cnn.analysis import page, pictures
from lit_cnn.analysis.run_images import images_of, read_config
from lit_cnn.data.manifest import FILE_NAME
from lit_cnn.data.sharing import sharing_images
from lit_cnn.runs.folder import Run
from lit_cnn.runs.monitor import chose_epoch
from lit_cnn.runs.predictions import RunPredictions
from lit_cnn.system.extras import require_extra
from lit_cnn.system.json_files import read_object


@dataclass(frozen=True, eq=False)
class Folds:
    """Runs whose validation images together are all training images, with their predictions.

    Args:
        runs: One for each fold.
        predictions: Of their validation images.
    """

    runs: tuple[Run, ...]
    predictions: tuple[RunPredictions, ...]

    @property
    def num_images(self) -> int:
        return sum(map(len, self.predictions))

    @property
    def accuracy(self) -> float:
        """Share of the images whose likeliest class is their label."""
        return float(np.concatenate([own.correct for own in self.predictions]).mean())

    @classmethod
    def read(cls, runs: Sequence[Run], of: Run) -> Folds:
        """Reads the predictions of finished folds.

        Args:
            runs: The folds.
            of: The run whose images they divide.

        Raises:
            ValueError: If they have no predictions, are of other images, or do not have each image once; names the run.
        """
        if len(runs) < 2:
            raise ValueError("label errors need the runs of at least two folds")
        predictions = [run.read_predictions("val") for run in runs]
        digest, total = known_images(of)
        seen: set[str] = set()
        for run, own in zip(runs, predictions, strict=True):
            if known_images(run)[0] != digest:
                folds, is_own = run.path.parent, run.path.parent.parent == of.path
                advice = f"remove {folds}, to train its folds anew" if is_own else "give runs on the same images"
                raise ValueError(f"the images of {run.path} are not those of {of.path}: {advice}")
            if twice := next((name for name in own.images if name in seen), None):
                raise ValueError(f"{run.path} and another run both predict {twice}: give one run for each fold")
            seen.update(own.images)
        if len(seen) != total:
            raise ValueError(f"the runs predict {len(seen):,} of {total:,} images: give the runs of all folds")
        return cls(tuple(runs), tuple(predictions))


def known_images(run: Run) -> tuple[str, int]:
    """Digest and number of the training and validation images of a run.

    Raises:
        ValueError: If its manifest cannot be read.
    """
    manifest = run.path / FILE_NAME
    try:
        content = read_object(manifest)
        return str(content["digest"]), int(content["counts"]["train"]) + int(content["counts"]["val"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{manifest} does not say which images the run has: train it anew") from error


@dataclass(frozen=True)
class LabelError:
    """An image whose label is doubted.

    Args:
        fold: Number of its fold, from 0.
        position: Among the validation images of that fold.
    """

    fold: int
    position: int


def find_label_errors(folds: Folds) -> list[LabelError]:
    """Images that are likely to have a wrong label, the likeliest first.

    Confident learning estimates how many labels are wrong. Those with the lowest probabilities are taken, unless the label
    is the likeliest class.

    Raises:
        ValueError: If cleanlab is not installed.
    """
    require_extra("labels", "lit-cnn label-errors")
    from cleanlab.filter import find_label_issues

    labels = np.concatenate([own.labels for own in folds.predictions])
    probabilities = np.concatenate([own.probabilities for own in folds.predictions])
    ranked = find_label_issues(
        labels,
        probabilities,
        return_indices_ranked_by="self_confidence",
        filter_by="low_self_confidence",
        n_jobs=1,  # others would have to start torch again
    )
    ranked = ranked[probabilities[ranked].argmax(axis=1) != labels[ranked]]
    starts = np.cumsum([0, *map(len, folds.predictions)])
    numbers = np.searchsorted(starts, ranked, side="right") - 1
    return [LabelError(int(fold), int(index - starts[fold])) for fold, index in zip(numbers, ranked, strict=True)]


def rows_of(folds: Folds, errors: Sequence[LabelError]) -> Iterator[tuple[str, ...]]:
    """File, label, suggested class and the probabilities of both, for each error."""
    for error in errors:
        own, position = folds.predictions[error.fold], error.position
        label, suggested = int(own.labels[position]), int(own.predicted[position])
        of_label, of_suggested = own.probabilities[position, [label, suggested]]
        names = own.class_names
        yield own.folder + own.images[position], names[label], names[suggested], f"{of_label:.6f}", f"{of_suggested:.6f}"


def write_label_errors(run: Run, folds: Folds, errors: Sequence[LabelError], num_images: int, table: Path) -> str:
    """A page with the likeliest errors and their images. No test image is read.

    Args:
        run: The run whose images they are.
        folds: Its folds.
        errors: What was found, the likeliest first.
        num_images: So many are shown at most.
        table: The file that lists all of them.
    """
    shown = errors[:num_images]
    images: dict[LabelError, pictures.Shown] = {}
    with sharing_images():
        for number, (own, predictions) in enumerate(zip(folds.runs, folds.predictions, strict=True)):
            of_fold = [error for error in shown if error.fold == number]
            if of_fold:
                source = images_of(own, "val", predictions)
                found = pictures.show(predictions, source, [error.position for error in of_fold])
                images |= zip(of_fold, found, strict=True)
    environment = run.read_environment()
    return page.render(
        "label_errors.html",
        title=f"Likely label errors of {environment.get('dataset')}",
        subtitle=f"{environment.get('variant')} · {run.path.name} · {len(folds.runs)} folds",
        images=[images[error] for error in shown],
        num_errors=len(errors),
        num_images=folds.num_images,
        accuracy=folds.accuracy,
        num_folds=len(folds.runs),
        is_chosen=any(chose_epoch(read_config(own), own.read_metrics()) for own in folds.runs),
        table=table.name,
    )
