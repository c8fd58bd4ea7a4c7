"""What a report says of a training, in words."""

import numpy as np
import pytest

from lit_cnn.analysis.class_table import rows_of_classes, share_of
from lit_cnn.analysis.facts import Scored
from lit_cnn.analysis.summary import describe_calibration, describe_fit, describe_worst_class
from lit_cnn.inference.calibration import reliability


def epochs(train: list[float], val: list[float]) -> list[dict[str, float]]:
    rows = zip(train, val, strict=True)
    return [{"epoch": number, "train/loss": one, "val/loss": other} for number, (one, other) in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            epochs([1, 0.5, 0.3, 0.1], [1, 0.8, 0.9, 1.2]),
            "over-fitted at the end: since epoch 2 the validation loss has risen by 50 %",
        ),
        (epochs([1, 0.5, 0.3], [1, 0.8, 0.84]), "no over-fitting: at the end, the validation loss is within 10 %"),
        (epochs([1, 0.5, 0.9], [1, 0.8, 1.6]), "the training is unstable"),
        (epochs([1, 0.5], [1, 0.8]), "not known: 2 validated epochs are too few"),
        (epochs([1], [1]), "not known: 1 validated epoch is too few"),
        ([{"epoch": 0, "train/loss": 1.0}], "not known: no epoch was validated"),
        ([], "not known: no epoch was validated"),
    ],
)
def test_over_fitting_is_a_validation_loss_that_rises_while_the_training_loss_falls(rows, words):
    assert words in describe_fit(rows)


def test_the_gap_of_the_accuracies_has_a_direction():
    rows = epochs([1, 0.5, 0.3], [1, 0.8, 0.7])
    assert describe_fit([*rows[:2], rows[2] | {"train/acc": 0.9, "val/acc": 0.85}]).endswith(
        "is 5.0 points above the validation accuracy."
    )
    assert describe_fit([*rows[:2], rows[2] | {"train/acc": 0.8, "val/acc": 0.85}]).endswith(
        "is 5.0 points below the validation accuracy."
    )


def test_the_worst_class_is_named_with_what_it_is_taken_for():
    confusion = np.array([[90, 10, 0], [5, 60, 35], [0, 0, 0]])
    scored = Scored("test", ("ant", "bee", "cat"), confusion, None)
    words = describe_worst_class(rows_of_classes(confusion, scored.class_names), scored)
    assert words.startswith(
        "The class with the lowest recall is bee: 60.0 % (95 % interval 50.2 to 69.1 %) of 100 test images."
    )
    assert words.endswith("It is most often taken for cat (35 images).")


def test_classes_without_a_mistake_and_without_images():
    for confusion, words in ((np.diag([3, 4]), "It recognises all validation images."), (np.zeros((2, 2), dtype=int), "")):
        assert (
            describe_worst_class(rows_of_classes(confusion, ["a", "b"]), Scored("val", ("a", "b"), confusion, None)) == words
        )


@pytest.mark.parametrize(
    ("confidence", "words"), [(0.99, "over-confident"), (0.55, "under-confident"), (0.8, "as sure as it is right")]
)
def test_confidence_is_compared_with_the_interval_of_the_accuracy(confidence: float, words: str):
    probabilities = np.tile([confidence, 1 - confidence], (200, 1))
    labels = np.where(np.arange(200) < 160, 0, 1)
    assert words in describe_calibration(reliability(probabilities, labels), share_of(160, 200))
