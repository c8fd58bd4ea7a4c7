"""Exports that answer otherwise are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from untrained import samples_of, untrained

from lit_cnn.errors import ParityError
from lit_cnn.export.export import answer_of
from lit_cnn.export.parity import TOLERANCE, check_answers, check_parity, compare


def test_the_same_network_agrees_at_every_batch_size():
    trained = untrained()
    seen: list[int] = []

    def answer(pixels: torch.Tensor) -> np.ndarray:
        seen.append(len(pixels))
        return answer_of(trained)(pixels)

    parity = check_parity("model", answer, samples_of(trained))
    assert set(seen) == {1, 2, 3, 17, 20}  # batches of 17 leave 3, those of 64 have all 20
    assert parity.max_difference < 1e-6
    assert (parity.num_answers, parity.num_equal, parity.share_equal) == (80, 80, 1.0)


@pytest.mark.parametrize("wrong", [2 * TOLERANCE, np.nan], ids=["too far", "no number"])
def test_a_probability_that_differs_names_the_image(wrong: float):
    samples = samples_of(untrained())
    answered = samples.probabilities.copy()
    answered[7, 1] += wrong
    with pytest.raises(ParityError, match=r"^model: a probability of 7\.png differs by (0\.0002|nan) from the run's"):
        compare("model", answered, samples)


def test_another_class_is_an_error_unless_the_two_are_tied():
    samples = samples_of(untrained())
    classes = samples.probabilities.argmax(axis=1)
    second = np.argsort(samples.probabilities[4])[-2]
    assert check_answers("model", classes, samples) == 20
    classes[4] = second
    with pytest.raises(ParityError, match=r"^model: 4\.png is \w+, the run answers \w+ \(0\.\d+ against"):
        check_answers("model", classes, samples)
    samples.probabilities[4] = 1 / 3
    assert check_answers("model", classes, samples) in (19, 20)


def test_other_classes_are_refused():
    samples = samples_of(untrained())
    with pytest.raises(ParityError, match=r"shape \(20, 2\), the run gives \(20, 3\)"):
        compare("model", samples.probabilities[:, :2], samples)
