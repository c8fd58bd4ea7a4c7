"""How sure a trained network may be: measured on its validation images, kept with its run, used by predictions."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lit_cnn.inference.calibration import error_interval
from lit_cnn.inference.conformal import conformal_sets, conformal_threshold
from lit_cnn.inference.interval import Interval, exact_share
from lit_cnn.inference.selective import Threshold, area, candidates, find_threshold, least_images, risks
from lit_cnn.inference.temperature import cross_fit, fit_temperature, log_loss, softmax
from lit_cnn.runs.folder import Run
from lit_cnn.runs.predictions import RunPredictions
from lit_cnn.system.json_files import read_object, write_object

# Version of the file. Another one is made anew.
FORMAT = 1
# Of so many images, four of five folds still decide about prediction sets of all LEVELS.
LEAST_IMAGES = 50
LEVELS = (0.90, 0.95)
# Accuracy of the answers that are sure enough.
WANTED_ACCURACY = 0.99


@dataclass(frozen=True)
class Sure:
    """The confidence above which 99 % of the answers are right.

    Args:
        threshold: As it was found with all validation images.
        coverage: Share of images above the threshold that the images of the other folds give.
        accuracy: Of these images; None if no fold has such a threshold.
    """

    threshold: Threshold
    coverage: Interval
    accuracy: Interval | None


@dataclass(frozen=True)
class SetsAt:
    """Prediction sets that hold the true class at a chosen rate.

    Args:
        level: The rate, 0.90 or 0.95.
        threshold: Least probability of a class in a set, from all validation images.
        mean_size: Classes in a set, in the mean, with thresholds that the images of the other folds give.
        sizes: Share of sets of 1, 2, 3, 4 and more classes.
        coverage: Share of sets that hold the true class.
    """

    level: float
    threshold: float
    mean_size: float
    sizes: tuple[float, ...]
    coverage: Interval


@dataclass(frozen=True)
class Confidence:
    """How sure a network may be, from its answers for the validation images.

    Temperature and thresholds are of all validation images. How good they are is measured with those that the images of
    other folds give (cross-fitting). The checkpoint may have been chosen on the same images, which flatters its accuracy.

    Args:
        temperature: See :func:`lit_cnn.inference.temperature.fit_temperature`.
        num_images: Number of validation images.
        accuracy: Share of them that were recognised.
        log_loss_before: As the network answers.
        log_loss_after: With temperatures of other folds.
        error_before: Expected calibration error as the network answers.
        error_after: With temperatures of other folds.
        aurc: Area under the risk–coverage curve, with temperatures of other folds.
        sure: None if no confidence was shown to be high enough.
        reason: Why there is none; empty if there is one.
        sets: Prediction sets, one for each of :data:`LEVELS`.
        checkpoint: The checkpoint, relative to the run's folder.
        predictions: Digest of the file of predictions.
        step: Number of steps of the optimiser after which the checkpoint was saved; None if it is not known.
    """

    temperature: float
    num_images: int
    accuracy: Interval
    log_loss_before: float
    log_loss_after: float
    error_before: Interval
    error_after: Interval
    aurc: float
    sure: Sure | None
    reason: str
    sets: tuple[SetsAt, ...]
    checkpoint: str | None = None
    predictions: str | None = None
    step: int | None = None

    def calibrate(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities at the fitted temperature.

        Shape:
            Input (N, num_classes), or (num_classes,) of one image; output the same, float64.
        """
        rows = np.asarray(logits)
        return softmax(rows.reshape(-1, rows.shape[-1]), self.temperature).reshape(rows.shape)

    def sets_of(self, probabilities: np.ndarray, level: float = 0.90) -> np.ndarray:
        """The classes in the prediction set of each image.

        Args:
            probabilities: Of :meth:`calibrate`, (N, num_classes).
            level: One of :data:`LEVELS`.
        Shape:
            Output (N, num_classes) bool.
        Raises:
            ValueError: If there are no sets of this level.
        """
        threshold = next((sets.threshold for sets in self.sets if sets.level == level), None)
        if threshold is None:
            raise ValueError(
                f"there are prediction sets at {' and '.join(f'{one:.0%}' for one in LEVELS)}, not at {level:g}"
            )
        return conformal_sets(probabilities, threshold)


def assess(logits: np.ndarray, labels: np.ndarray) -> Confidence:
    """Measures how sure a network may be.

    Args:
        logits: Of the validation images, (N, num_classes).
        labels: True class of each, (N,).

    Raises:
        ValueError: If there are too few images or classes, or the logits are not finite.
    """
    number = len(labels)
    if number < LEAST_IMAGES:
        raise ValueError(
            f"there are {number} validation images, and at least {LEAST_IMAGES} show how sure the network may be"
        )
    if logits.shape[1] < 2 or len(np.unique(labels)) < 2:
        raise ValueError("all validation images are of one class, so that any answer would seem sure")
    if not np.isfinite(logits).all():
        raise ValueError("the network answers with values that are not finite")
    correct, images = logits.argmax(axis=1) == labels, np.arange(number)
    before, after = softmax(logits), np.empty(logits.shape, dtype=np.float64)
    accepted, sets = np.zeros(number, dtype=bool), {level: np.zeros(logits.shape, dtype=bool) for level in LEVELS}
    for own, temperature in cross_fit(logits, labels):
        others, after[own] = softmax(logits[~own], temperature), softmax(logits[own], temperature)
        of_others = find_threshold(others.max(axis=1), correct[~own], WANTED_ACCURACY)
        if of_others is not None:
            accepted[own] = after[own].max(axis=1) > of_others.confidence
        of_label = others[np.arange(len(others)), labels[~own]]
        for level in LEVELS:
            sets[level][own] = conformal_sets(after[own], conformal_threshold(of_label, level))
    temperature = fit_temperature(logits, labels)
    calibrated = softmax(logits, temperature)
    threshold = find_threshold(calibrated.max(axis=1), correct, WANTED_ACCURACY)
    return Confidence(
        temperature,
        number,
        exact_share(int(correct.sum()), number),
        log_loss(before, labels),
        log_loss(after, labels),
        error_interval(before, labels),
        error_interval(after, labels),
        area(risks(after.max(axis=1), correct)),
        None if threshold is None else _describe_sure(threshold, accepted, correct),
        "" if threshold else _why_none(calibrated.max(axis=1), correct),
        tuple(
            _describe_sets(level, conformal_threshold(calibrated[images, labels], level), of_level, labels)
            for level, of_level in sets.items()
        ),
    )


def _describe_sure(threshold: Threshold, accepted: np.ndarray, correct: np.ndarray) -> Sure:
    number = int(accepted.sum())
    accuracy = exact_share(int(correct[accepted].sum()), number) if number else None
    return Sure(threshold, exact_share(number, len(correct)), accuracy)


def _why_none(confidences: np.ndarray, correct: np.ndarray) -> str:
    number, least = len(correct), least_images(WANTED_ACCURACY)
    if number < least:
        return f"there are {number:,} validation images, and at least {least:,} are needed to show it"
    tried = [one for one in candidates(confidences, correct, WANTED_ACCURACY) if one.num_accepted >= least]
    surest = min(tried, key=lambda one: one.num_accepted)  # equally sure images are accepted together
    shares = f"{surest.num_accepted:,} surest validation images, {surest.num_right:,}"
    return f"of the {shares} are recognised, too few to show it"


def _describe_sets(level: float, threshold: float, sets: np.ndarray, labels: np.ndarray) -> SetsAt:
    sizes = sets.sum(axis=1)
    shares = np.bincount(np.minimum(sizes, 4), minlength=5)[1:] / len(labels)
    hits = int(sets[np.arange(len(labels)), labels].sum())
    return SetsAt(level, threshold, float(sizes.mean()), tuple(shares.tolist()), exact_share(hits, len(labels)))


# The file of a run


def confidence_of(run: Run) -> Confidence:
    """How sure the network of a run may be. It is measured if ``confidence.json`` is missing or of earlier predictions.

    Raises:
        ValueError: If it diverged, or if it has no predictions of its validation images, or they are too few.
    """
    if run.diverged:
        raise ValueError(f"the training of {run.path} diverged")
    try:
        with run.predictions["val"].open("rb") as file:
            digest = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    except OSError:
        digest = None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # missing, damaged, or of another version
        kept = _from_json(read_object(run.confidence))
        if digest is not None and kept.predictions == digest:
            return kept
    predictions = run.read_predictions("val")
    found = _with_source(assess(predictions.logits, predictions.labels), predictions, digest)
    with contextlib.suppress(OSError):  # a folder that cannot be written: it is measured again the next time
        write_object(run.confidence, {"format": FORMAT, **asdict(found)})
    return found


def keep_confidence(run: Run) -> None:
    """Writes ``confidence.json`` after a training. Without a file, :func:`confidence_of` has the reason."""
    with contextlib.suppress(OSError, ValueError, MemoryError):
        run.confidence.unlink(missing_ok=True)
        confidence_of(run)


def _with_source(found: Confidence, predictions: RunPredictions, digest: str | None) -> Confidence:
    source = {"checkpoint": predictions.checkpoint, "predictions": digest, "step": predictions.step}
    return Confidence(**{**vars(found), **source})


def _from_json(content: dict[str, Any]) -> Confidence:
    """What :func:`confidence_of` has written.

    Raises:
        ValueError, KeyError, TypeError: If it is something else.
    """
    if content.pop("format") != FORMAT:
        raise ValueError("it is of another version")
    for name in ("accuracy", "error_before", "error_after"):
        content[name] = Interval(**content[name])
    if content["sure"] is not None:
        sure = content["sure"]
        accuracy = sure["accuracy"] and Interval(**sure["accuracy"])
        content["sure"] = Sure(Threshold(**sure["threshold"]), Interval(**sure["coverage"]), accuracy)
    content["sets"] = tuple(
        SetsAt(**{**sets, "sizes": tuple(sets["sizes"]), "coverage": Interval(**sets["coverage"])})
        for sets in content["sets"]
    )
    return Confidence(**content)
