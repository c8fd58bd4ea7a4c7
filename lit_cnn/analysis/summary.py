"""What is to be said of a run, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lit_cnn.analysis.class_table import ClassRow, confusions, share_of
from lit_cnn.analysis.facts import NOUNS, RunFacts, Scored
from lit_cnn.analysis.page import percent, short
from lit_cnn.analysis.statistics import Interval
from lit_cnn.data.manifest import count
from lit_cnn.data.splits import Split
from lit_cnn.inference.calibration import Reliability

# A validation loss that has risen by this factor since its minimum, while the training loss fell, is over-fitting.
RISEN = 1.1
FEWEST_EPOCHS = 3  # to see whether a loss falls or rises


def with_interval(share: Interval, digits: int = 1) -> str:
    """``87.3 % (95 % interval 86.6 to 88.0 %)``."""
    low, high = 100 * share.low, 100 * share.high
    return f"{percent(share.value, digits)} (95 % interval {low:.{digits}f} to {high:.{digits}f} %)"


def describe_training(facts: RunFacts) -> str:
    """What was trained on what."""
    images = facts.num_images
    counts = [f"{images[split]:,} {NOUNS[split]}" for split in ("train", "val") if split in images]
    size = f" {' and '.join(counts)} images," if counts else ""
    classes = f" {len(facts.data['classes'])} classes," if "classes" in facts.data else ""
    epochs = f"{len(facts.rows)} epoch{'' if len(facts.rows) == 1 else 's'}"
    if facts.max_epochs and facts.max_epochs != len(facts.rows):
        epochs += f" of at most {facts.max_epochs}"
    seconds = f", {facts.rows[-1]['seconds']:,.0f} s" if facts.rows and "seconds" in facts.rows[-1] else ""
    device = facts.environment.get("device")
    return (
        f"{facts.variant} ({facts.class_name}) was trained on {facts.dataset}:{size}{classes} {epochs}{seconds} "
        f"on {device}, seed {facts.config.get('seed_everything')}."
    )


def describe_accuracy(facts: RunFacts) -> str:
    """How many images are recognised, of the test images if the run was tested."""
    if accuracy := accuracy_of(facts, "test"):
        return f"It recognises {with_interval(accuracy)} of {facts.num_scored('test'):,} test images."
    test = _describe_missing_test(facts)
    if "val/acc" in facts.results:
        chosen = ", on which its checkpoint was chosen" if facts.is_chosen else ""
        return f"It recognises {_describe_validation(facts)}{chosen}. {test}"
    return f"It was not validated. {test}" if facts.other_checkpoint else "It was neither validated nor tested."


def _describe_validation(facts: RunFacts) -> str:
    accuracy, images = accuracy_of(facts, "val"), facts.num_scored("val")
    if accuracy is None:
        return f"{percent(facts.results['val/acc'], 1)} of an unknown number of validation images"
    which = "the" if images == facts.num_images.get("val", images) else f"{images:,}"
    return f"{with_interval(accuracy)} of {which} validation images"


def _describe_missing_test(facts: RunFacts) -> str:
    command = facts.run.evaluation_command("test")
    if facts.other_checkpoint is None:
        return f"It was not tested: {command}."
    checkpoint = facts.run.checkpoint
    assert checkpoint is not None
    usual = checkpoint.relative_to(facts.run.path).as_posix()
    return f"The test scores are of {facts.other_checkpoint}: {command} tests {usual}."


def accuracy_of(facts: RunFacts, split: Split) -> Interval | None:
    """The accuracy of the best checkpoint with Wilson's interval; None if it or the number of images is not known."""
    if split == "test" and not facts.is_tested:
        return None
    accuracy, images = facts.results.get(f"{split}/acc"), facts.num_scored(split)
    return share_of(round(accuracy * images), images) if accuracy is not None and images else None


def describe_looks(facts: RunFacts) -> str:
    """How often the test images were looked at."""
    own, total = facts.looks.by_run, facts.looks.in_total
    if not total:
        return "Nobody has looked at the test images yet."
    text = f"The test images were looked at {_times(own)} by this run, and {_times(total)} by all runs beside it."
    return text + (" A run that is chosen by its test accuracy will do worse on new images." if total > 1 else "")


def describe_worst_class(rows: Sequence[ClassRow], scored: Scored) -> str:
    """The class with the lowest recall, and what it is taken for."""
    there = [row for row in rows if row.recall is not None]
    if not there:
        return ""
    worst = min(there, key=lambda row: row.recall.value)
    if worst.recall.value == 1:
        return f"It recognises all {NOUNS[scored.split]} images."
    number = rows.index(worst)
    own = np.zeros_like(scored.confusion)
    own[number] = scored.confusion[number]
    (_, other, number_taken), *_ = confusions(own, 1)
    other_name, images = short(scored.class_names[other]), count(number_taken, "image")
    return (
        f"The class with the lowest recall is {short(worst.name)}: {with_interval(worst.recall)} of {worst.images:,} "
        f"{NOUNS[scored.split]} images. It is most often taken for {other_name} ({images})."
    )


def describe_calibration(found: Reliability, accuracy: Interval) -> str:
    """Whether the network is as sure as it may be."""
    if found.mean_confidence > accuracy.high:
        verdict = "It is over-confident: it"
    elif found.mean_confidence < accuracy.low:
        verdict = "It is under-confident: it"
    else:
        verdict = "On average it is as sure as it is right: it"
    return (
        f"{verdict} answers with a mean probability of {percent(found.mean_confidence)} and is right in "
        f"{percent(accuracy.value)}. The expected calibration error is {100 * found.error:.1f} points."
    )


def describe_fit(rows: Sequence[dict[str, float]]) -> str:
    """Whether the network was over-fitted, from the losses of the epochs."""
    both = [row for row in rows if {"train/loss", "val/loss"} <= row.keys()]
    if not both:
        return "Whether it is over-fitted is not known: no epoch was validated."
    if len(both) < FEWEST_EPOCHS:
        many = "1 validated epoch is" if len(both) == 1 else f"{len(both)} validated epochs are"
        return f"Whether it is over-fitted is not known: {many} too few to see."
    best = min(range(len(both)), key=lambda index: both[index]["val/loss"])
    first, last = both[best], both[-1]
    if last["val/loss"] > RISEN * first["val/loss"] and last["train/loss"] < first["train/loss"]:
        rise = last["val/loss"] / first["val/loss"] - 1
        return (
            f"It is over-fitted at the end: since epoch {first['epoch'] + 1:.0f} the validation loss has risen by "
            f"{100 * rise:.0f} %, while the training loss fell."
        )
    text = f"It shows no over-fitting: at the end, the validation loss is within {100 * (RISEN - 1):.0f} % of its minimum"
    if last["val/loss"] > RISEN * first["val/loss"]:
        text = "The validation loss has risen since its minimum, and so has the training loss: the training is unstable"
    if {"train/acc", "val/acc"} <= last.keys():
        gap = 100 * (last["train/acc"] - last["val/acc"])
        place = "above" if gap > 0 else "below"
        text += f". The training accuracy in the last epoch is {abs(gap):.1f} points {place} the validation accuracy"
    return f"{text}."


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"
