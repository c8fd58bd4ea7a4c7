"""The section of a report about how sure a network may be."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from lit_cnn.analysis import page, run_plots
from lit_cnn.analysis.page import percent
from lit_cnn.analysis.statistics import Interval
from lit_cnn.inference.calibration import reliability
from lit_cnn.inference.confidence import Confidence, SetsAt, Sure, confidence_of
from lit_cnn.inference.selective import risks
from lit_cnn.inference.temperature import cross_fitted
from lit_cnn.runs.folder import Run

# A temperature this near to 1 changes next to nothing.
NEAR_ONE = 0.05


@dataclass(frozen=True)
class ConfidenceSection:
    """What the section shows.

    Args:
        figures: Reliability before and after, and the risk–coverage curve.
        sentences: What they mean.
        sets: Prediction sets at each level.
        num_images: Number of validation images.
    """

    figures: tuple[Markup, ...]
    sentences: tuple[str, ...]
    sets: tuple[SetsAt, ...]
    num_images: int


def confidence_section(run: Run) -> ConfidenceSection:
    """The section of a run.

    Raises:
        ValueError: See :func:`~lit_cnn.inference.confidence.confidence_of`.
    """
    found, predictions = confidence_of(run), run.read_predictions("val")
    labels, after = predictions.labels, cross_fitted(predictions.logits, predictions.labels)
    compared = run_plots.draw_before_after(reliability(predictions.probabilities, labels), reliability(after, labels))
    curve = risks(after.max(axis=1), predictions.correct)
    coverage = found.sure.threshold.num_accepted / found.num_images if found.sure else None
    figures = (
        page.svg(compared, "reliability before and after temperature scaling"),
        page.svg(run_plots.draw_risk_coverage(curve, coverage), "risk–coverage curve"),
    )
    return ConfidenceSection(figures, tuple(describe(found)), found.sets, found.num_images)


def describe(found: Confidence) -> list[str]:
    """What was measured, in sentences."""
    sentences = [_describe_temperature(found), _describe_error(found), _describe_order(found)]
    if found.sure:
        return [*sentences, *_describe_sure(found.sure)]
    return [*sentences, f"No confidence above which 99 % of the answers are right can be named: {found.reason}."]


def _describe_temperature(found: Confidence) -> str:
    temperature = f"{found.temperature:.2f}"
    if found.accuracy.value == 1:
        return (
            "All validation images are recognised. So no temperature can be fitted, and the probabilities stay as they are."
        )
    if abs(found.temperature - 1) < NEAR_ONE:
        return f"The temperature is {temperature}: the network is about as sure as it may be."
    if found.log_loss_after >= found.log_loss_before:
        return f"The temperature is {temperature}, but it does not help: the log loss of other images does not fall."
    too, less = ("over-confident", "less sure") if found.temperature > 1 else ("under-confident", "surer")
    return (
        f"The temperature is {temperature}: the network is {too}. "
        f"Dividing its outputs by {temperature} makes it {less}, and changes no answer."
    )


def _describe_error(found: Confidence) -> str:
    before, after = _points(found.error_before), _points(found.error_after)
    losses = f"{found.log_loss_before:.3f} before, {found.log_loss_after:.3f} after"
    return f"The expected calibration error is {before} points before, {after} after. The log loss is {losses}."


def _describe_order(found: Confidence) -> str:
    error = 100 * (1 - found.accuracy.value)
    return (
        f"If the surest images are answered first, {100 * found.aurc:.2f} % of the answers are wrong, in the mean over all "
        f"shares of answered images (AURC). In any order, {error:.2f} % are."
    )


def _describe_sure(sure: Sure) -> list[str]:
    threshold, number = sure.threshold, sure.threshold.num_accepted
    place = f"above {percent(threshold.confidence, 2)}, " if threshold.confidence else "of any size, "
    right = (
        f"{threshold.num_right:,} of {number:,} are right, and with 95 % certainty at least {percent(threshold.low, 2)} are"
    )
    sentences = [f"Of the answers with a calibrated probability {place}{right}."]
    if sure.accuracy is None:
        return [*sentences, "Four fifths of the images are too few to find such a threshold again."]
    covered = f"{percent(sure.coverage.value)} of the images"
    measured = (
        f"With thresholds that other images give, {covered} are answered, and {percent(sure.accuracy.value, 2)} of them"
    )
    interval = f"({100 * sure.accuracy.low:.2f}–{100 * sure.accuracy.high:.2f} %)"
    return [*sentences, f"{measured} {interval} are right."]


def _points(error: Interval) -> str:
    return f"{100 * error.value:.1f} ({100 * error.low:.1f}–{100 * error.high:.1f})"
