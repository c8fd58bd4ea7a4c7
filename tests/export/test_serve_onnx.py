"""The server of the container."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from untrained import untrained

from lit_cnn.export.card import describe_preprocessing
from lit_cnn.export.docker import SERVER
from lit_cnn.export.network import ExportedNetwork
from lit_cnn.export.script import SCRIPT

pytest.importorskip("fastapi")
from starlette.exceptions import HTTPException

onnxruntime = pytest.importorskip("onnxruntime")


class FakeSession:
    """Answers with the second class."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert inputs["images"].shape == (1, 32, 32, 3)
        return [np.array([[0.25, 0.75, 0.0]], np.float32)]


class FakeRequest:
    """A request with one part."""

    def __init__(self, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.content, self.headers = content, headers or {}

    async def stream(self) -> AsyncIterator[bytes]:
        yield self.content


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The server's module, beside a network whose classes are bytes that are not UTF-8."""
    trained = untrained()
    content = describe_preprocessing(trained, ExportedNetwork.of(trained)) | {"class_names": ["ant", "b\udce9e", "cat"]}
    (tmp_path / "preprocess.json").write_text(json.dumps(content))
    for script in (SCRIPT, SERVER):
        (tmp_path / script.name).write_bytes(script.read_bytes())
    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(SERVER.stem)
    for script in (SCRIPT, SERVER):
        sys.modules.pop(script.stem, None)


def png() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (40, 30)).save(content, "PNG")
    return content.getvalue()


def ask(server: ModuleType, content: bytes, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(server.predict(FakeRequest(content, named)))


def deep_png() -> bytes:
    content = io.BytesIO()
    Image.new("I;16", (40, 30)).save(content, "PNG")
    return content.getvalue()


def test_names_that_are_not_unicode_become_json(server: ModuleType):
    answer = ask(server, png())
    assert json.dumps(answer, ensure_ascii=False).encode()
    assert (answer["class"], answer["probability"]) == ("b\\udce9e", 0.75)


@pytest.mark.parametrize(("error", "status"), [(OSError("no image"), 422), (MemoryError(), 503)])
def test_an_image_that_cannot_be_decoded_is_refused(
    server: ModuleType, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
):
    def read_image(*_: object) -> None:
        raise error

    monkeypatch.setattr(server, "read_image", read_image)
    assert ask(server, png()).status_code == status


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"no image", "(its content is of no image format that is read)"),
        (deep_png(), "(more than 8 bits a value: lit-cnn predict reads it)"),
        (png()[:60], "(image file is truncated"),
        (b"", "there is no image: send the bytes: --data-binary @FILE"),
    ],
    ids=["text", "16 bits", "cut off", "empty"],
)
def test_the_cause_is_told_in_words(server: ModuleType, content: bytes, cause: str):
    answer = ask(server, content)
    assert answer.status_code == 422
    assert cause in json.loads(answer.body)["error"]


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({"content_type": "multipart/form-data; boundary=x"}, 415, "send the bytes: --data-binary @FILE"),
        ({"content_type": "application/json"}, 415, "send the bytes: --data-binary @FILE"),
        ({"content_length": "99999999999"}, 413, "an image may have 20,971,520 bytes"),
    ],
    ids=["form", "JSON", "large"],
)
def test_other_bodies_are_refused_before_they_are_received(
    server: ModuleType, headers: dict[str, str], status: int, message: str
):
    answer = ask(server, png(), **headers)
    assert answer.status_code == status
    assert message in json.loads(answer.body)["error"]


def test_health_and_refusals_are_those_of_lit_cnn_serve(server: ModuleType):
    health = asyncio.run(server.health())
    assert (health.status_code, health.body) == (200, b"ok")
    handler = server.app.exception_handlers[HTTPException]
    refused = asyncio.run(handler(None, HTTPException(405)))
    assert (refused.status_code, json.loads(refused.body)) == (405, {"error": "Method Not Allowed"})


def test_an_error_of_the_network_is_none_of_the_image(server: ModuleType, monkeypatch: pytest.MonkeyPatch):
    def run(*_: object) -> None:
        raise RuntimeError("of the session")

    monkeypatch.setattr(server.SESSION, "run", run, raising=True)
    with pytest.raises(RuntimeError, match="of the session"):
        ask(server, png())


def test_as_many_images_are_decoded_at_a_time_as_there_are_processors(server: ModuleType):
    async def tokens() -> float:
        return server.LIMITER.total_tokens

    assert asyncio.run(tokens()) == (os.cpu_count() or 1)
