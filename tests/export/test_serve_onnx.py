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

    def __init__(self, content: bytes) -> None:
        self.content = content

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


def ask(server: ModuleType, content: bytes) -> Any:
    return asyncio.run(server.predict(FakeRequest(content)))


def test_names_that_are_not_unicode_become_json(server: ModuleType):
    answer = ask(server, png())
    assert json.dumps(answer, ensure_ascii=False).encode()
    assert (answer["class"], answer["probability"]) == ("b\\udce9e", 0.75)


@pytest.mark.parametrize(("error", "status"), [(OSError("no image"), 400), (MemoryError(), 503)])
def test_an_image_that_cannot_be_decoded_is_refused(
    server: ModuleType, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
):
    def read_image(*_: object) -> None:
        raise error

    monkeypatch.setattr(server, "read_image", read_image)
    assert ask(server, png()).status_code == status


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
