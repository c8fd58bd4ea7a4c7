"""Several questions answered together: the same probabilities as alone, and no harm from a file that is no image."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from untrained import untrained

from lit_cnn.data.reading import MAX_PIXELS, Reading
from lit_cnn.export.serve_answers import Answering
from lit_cnn.export.serve_request import Question
from lit_cnn.inference.explain import heat_map
from lit_cnn.inference.trained import Trained


def brightness(trained: Trained, image: Tensor, target: int) -> np.ndarray:
    """A heat map that is easy to know: the image itself, where it is grey."""
    assert target in range(len(trained.class_names))
    return image.float().mean(dim=0).numpy() / 255


@pytest.fixture(scope="module")
def trained() -> Trained:
    return untrained()


@pytest.fixture(scope="module")
def answering(trained: Trained) -> Answering:
    return Answering(trained, 8, 1, brightness)


def photo(seed: int) -> bytes:
    random = np.random.default_rng(seed)
    buffer = io.BytesIO()
    pixels = random.integers(0, 255, (*random.integers(20, 90, 2), 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG" if seed % 2 else "PNG")
    return buffer.getvalue()


def blank(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def test_probabilities_are_those_of_predict_in_any_company(trained: Trained, answering: Answering):
    photos = [photo(seed) for seed in range(20)]
    expected = [dict(trained.predict(Image.open(io.BytesIO(file))).top(3)) for file in photos]
    companies = [
        [Question((file,), True, top=3) for file in photos],
        [Question(tuple(photos), False, top=3)],
        [
            Question(tuple(photos[:1]), False, 3),
            Question(tuple(photos[1:18]), False, 3),
            Question(tuple(photos[18:]), False, 3),
        ],
    ]
    for questions in companies:
        contents = [answer.content for answer in answering.answer(questions)]
        answers = [one for content in contents for one in (content if isinstance(content, list) else [content])]
        assert len(answers) == len(expected)
        for answer, probabilities in zip(answers, expected, strict=True):
            assert answer["class"] == max(probabilities, key=probabilities.__getitem__)
            assert dict(answer["top"]) == pytest.approx(probabilities, abs=1e-6)
            assert [answer["class"], answer["probability"]] == answer["top"][0]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello", "its content is of no image format that is read"),
        (photo(0)[:99], "truncated"),
        (photo(1)[:300], "Truncated File Read"),
        (blank(9000), "9000×9000 pixels are more than 67,108,864"),
    ],
    ids=["empty", "text", "truncated PNG", "truncated JPEG", "bomb"],
)
def test_a_file_that_is_refused_in_training_is_refused_alone(answering: Answering, file: bytes, reason: str):
    good = Question((photo(2),), True)
    answers = answering.answer([good, Question((file,), True), Question((photo(3), file), False), good])
    assert [answer.status for answer in answers] == [200, 422, 422, 200]
    assert answers[0] == answers[3] == answering.answer([good])[0]
    assert re.search(reason, answers[1].content["error"])
    assert answers[1].content["error"].startswith("the image cannot be decoded as an image (")
    assert answers[2].content["error"].startswith("images[1] cannot be decoded as an image (")
    assert all(b"\n" not in answer.body[:-1] for answer in answers)


def pixels_of(base64_png: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(base64_png))))


def test_a_heat_map_comes_with_the_pixels_that_it_covers(trained: Trained, answering: Answering):
    (answer,) = answering.answer([Question((photo(4),), True, heat_map=True)])
    seen = trained.reading.decode(io.BytesIO(photo(4)))[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(pixels_of(answer.content["pixels"]), seen)
    assert np.abs(pixels_of(answer.content["heat_map"]) - seen.mean(axis=2)).max() <= 1


def test_a_heat_map_that_needs_gradients_is_that_of_python(trained: Trained):
    files = tuple(photo(seed) for seed in range(3))
    (answer,) = Answering(trained, 8, 1, heat_map).answer([Question(files, False, heat_map=True)])
    for file, content in zip(files, answer.content, strict=True):
        expected = heat_map(trained, trained.reading.decode(io.BytesIO(file))[0])
        assert expected.max() > 0
        np.testing.assert_array_equal(pixels_of(content["heat_map"]), (255 * expected).round())


@pytest.mark.parametrize(
    ("error", "message"),
    [(ValueError("it has no feature map"), "it has no feature map"), (MemoryError(), "MemoryError"), (KeyError("a"), "'a'")],
    ids=["without feature maps", "memory", "fault"],
)
def test_without_a_heat_map_there_is_still_an_answer(trained: Trained, error: Exception, message: str):
    def refuse(*_: object) -> np.ndarray:
        raise error

    (answer,) = Answering(trained, 8, 1, refuse).answer([Question((photo(4),), True, heat_map=True)])
    assert answer.status == 200
    assert answer.content["heat_map"] is None
    assert answer.content["no_heat_map"] == message


def test_too_little_memory_is_no_fault_of_the_image(answering: Answering, monkeypatch: pytest.MonkeyPatch):
    def decode(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Reading, "decode", decode)
    (answer,) = answering.answer([Question((photo(4),), True)])
    assert answer.status == 503
    assert "try again later" in answer.content["error"]


def test_images_that_are_large_together_are_refused_before_they_are_decoded(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
):
    largest = blank(8192)
    decoded = []

    def decode(_: Reading, file: io.BytesIO) -> tuple[Tensor, None]:
        decoded.append(file)
        return torch.zeros(3, 32, 32, dtype=torch.uint8), None

    monkeypatch.setattr(Reading, "decode", decode)
    answers = answering.answer([Question((largest,) * 5, False), Question((largest,) * 4, False), Question((b"",), True)])
    assert [answer.status for answer in answers] == [413, 200, 200]
    assert f"{5 * MAX_PIXELS:,} pixels together, more than {4 * MAX_PIXELS:,}" in answers[0].content["error"]
    assert len(decoded) == 5


def test_what_is_not_a_number_is_never_sent():
    broken = untrained()
    with torch.no_grad():
        next(broken.network.parameters()).fill_(float("nan"))
    (answer,) = Answering(broken, 8, 1, brightness).answer([Question((photo(4),), True)])
    assert answer.status == 500
    assert "no finite numbers" in answer.content["error"]
