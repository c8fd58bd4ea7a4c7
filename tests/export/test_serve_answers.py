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

from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.data.reading import Reading
from lit_cnn.export.serve_answers import Answering
from lit_cnn.export.serve_request import Question
from lit_cnn.inference.trained import Trained
from lit_cnn.models import LitLeNet

CLASSES = ("ant", "bee", "c\udcff")


def brightness(trained: Trained, image: Tensor, target: int) -> np.ndarray:
    """A heat map that is easy to know: the image itself, where it is grey."""
    assert target in range(len(trained.class_names))
    return image.float().mean(dim=0).numpy() / 255


@pytest.fixture(scope="module")
def trained() -> Trained:
    torch.manual_seed(0)
    preprocessing = Preprocessing(28, (0.5,) * 3, (0.25,) * 3)
    return Trained(LitLeNet(len(CLASSES), 3).eval(), preprocessing, CLASSES, Reading(32, 3), "photos", "nowhere")


@pytest.fixture(scope="module")
def answering(trained: Trained) -> Answering:
    return Answering(trained, 8, 1, brightness)


def photo(seed: int) -> bytes:
    random = np.random.default_rng(seed)
    buffer = io.BytesIO()
    pixels = random.integers(0, 255, (*random.integers(20, 90, 2), 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG" if seed % 2 else "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, "PNG")
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
        (bomb(), "9000×9000 pixels are more than 67,108,864"),
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


def test_a_network_without_heat_maps_still_answers(trained: Trained):
    def refuse(*_: object) -> np.ndarray:
        raise ValueError("it has no feature map")

    (answer,) = Answering(trained, 8, 1, refuse).answer([Question((photo(4),), True, heat_map=True)])
    assert answer.status == 200
    assert answer.content["heat_map"] is None
    assert answer.content["no_heat_map"] == "it has no feature map"


def test_what_is_not_a_number_is_never_sent(trained: Trained):
    broken = Trained(LitLeNet(3, 3).eval(), trained.preprocessing, CLASSES, trained.reading, "photos", "nowhere")
    with torch.no_grad():
        next(broken.network.parameters()).fill_(float("nan"))
    (answer,) = Answering(broken, 8, 1, brightness).answer([Question((photo(4),), True)])
    assert answer.status == 500
    assert "no finite numbers" in answer.content["error"]
