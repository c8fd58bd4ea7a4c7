import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from lit_cnn.analysis.class_table import confusion_of, confusions, rows_of_classes


def test_shares_are_those_of_scikit_learn_and_lie_in_their_intervals():
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 400)
    predicted = np.where(random.random(400) < 0.7, labels, random.integers(0, 4, 400))
    confusion = confusion_of(labels, predicted, 4)
    assert confusion.sum() == 400
    rows = rows_of_classes(confusion, list("abcd"))
    expected = precision_recall_fscore_support(labels, predicted)
    for number, row in enumerate(rows):
        assert row.name == "abcd"[number]
        assert row.images == expected[3][number]
        for share, values in zip((row.precision, row.recall, row.f1), expected, strict=False):
            assert share.value == pytest.approx(values[number])
            assert 0 < share.low < share.value < share.high < 1


def test_the_interval_of_f1_holds_the_true_value_as_often_as_it_claims():
    random = np.random.default_rng(1)
    # A class of one tenth with recall 0.8, taken for which are 5 % of the others: F1 from these by hand.
    hits, taken, missed = 0.1 * 0.8, 0.9 * 0.05, 0.1 * 0.2
    true = 2 * hits / (2 * hits + taken + missed)
    held = 0
    for _ in range(250):
        labels = (random.random(400) < 0.1).astype(int)
        predicted = np.where(labels == 1, random.random(400) < 0.8, random.random(400) < 0.05).astype(int)
        share = rows_of_classes(confusion_of(labels, predicted, 2), ["other", "class"])[1].f1
        held += share.low <= true <= share.high
    assert 0.92 <= held / 250 <= 0.98


def test_a_class_without_images_has_no_recall():
    row = rows_of_classes(np.array([[3, 0], [0, 0]]), ["a", "b"])[1]
    assert (row.images, row.precision, row.recall, row.f1) == (0, None, None, None)


def test_the_most_frequent_confusions_come_first():
    confusion = np.array([[5, 2, 0], [7, 1, 0], [0, 1, 9]])
    assert confusions(confusion, 2) == [(1, 0, 7), (0, 1, 2)]
    assert confusions(np.diag([3, 4]), 5) == []
