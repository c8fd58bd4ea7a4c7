"""Exports that answer otherwise are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from untrained import samples_of, untrained

from lit_cnn.errors import ParityError
from lit_cnn.export.export import answer_of
from lit_cnn.export.network import ExportedNetwork
from lit_cnn.export.parity import (
    MIN_SHARE_EQUAL,
    TOLERANCE,
    Answer,
    check_answers,
    check_parity,
    check_whole_images,
    compare,
)
from lit_cnn.export.samples import Samples


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


def whole_samples(folder: Path, mode: str = "RGB") -> tuple[Samples, ExportedNetwork]:
    """Twenty files larger than the run reads them, and the network that resizes them."""
    trained = untrained()
    random = np.random.default_rng(0)
    for number in range(20):
        pixels = Image.fromarray(random.integers(0, 255, (4, 5, 3), np.uint8)).resize((60, 50), Image.Resampling.BICUBIC)
        pixels.convert(mode).save(folder / f"{number}.png")
    files = tuple(folder / f"{number}.png" for number in range(20))
    samples = replace(samples_of(trained), files=files, pixels=torch.stack([trained.reading.read(file) for file in files]))
    return samples, ExportedNetwork.of(trained, takes_any_size=True)


def answer_in_torch(network: ExportedNetwork) -> Answer:
    def answer(pixels: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return network(network.as_input(pixels)).numpy()

    return answer


def test_images_at_their_own_size_are_compared_with_the_run(tmp_path: Path):
    samples, network = whole_samples(tmp_path)
    parity = check_whole_images("model", answer_in_torch(network), network, samples)
    assert parity.num_answers == 20
    assert parity.share_equal >= MIN_SHARE_EQUAL
    assert 0 < parity.max_difference < 0.05


def test_too_few_equal_answers_at_their_own_size_are_refused(tmp_path: Path):
    samples, network = whole_samples(tmp_path)
    samples.probabilities[:2] = samples.probabilities[:2].max(axis=1, keepdims=True) - samples.probabilities[:2]
    with pytest.raises(ParityError, match=r"^model: with its own resizing, 18 of 20 answers are the run's, fewer than 95%"):
        check_whole_images("model", answer_in_torch(network), network, samples)


def test_without_an_image_to_compare_its_own_resizing_is_refused(tmp_path: Path):
    samples, network = whole_samples(tmp_path, "RGBA")
    with pytest.raises(ParityError, match="its own resizing cannot be compared: no image is opaque"):
        check_whole_images("model", answer_in_torch(network), network, samples)
