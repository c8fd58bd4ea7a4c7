"""What a client asks of the server, within limits, and what it is answered."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lit_cnn.system.memory import format_bytes

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message, Receive

# Images in one request: each may take as long to decode as the largest image that is read.
MAX_IMAGES = 64
# Time for the body of a request to arrive, in seconds.
SECONDS_TO_ARRIVE = 60
# Bodies that wait for their answers, in bytes. Each is held up to three times: here, in the queue, and in the worker.
MAX_HELD = 2**28
# A request counts at least so many bytes.
LEAST_HELD = 2**16
# Brackets and commas in JSON, of which an image has none: each may become an object of 50 bytes and more.
MAX_SIGNS = 200
FIELDS = ("image", "images", "top", "heat_map")
USAGE = "send a form with files, or JSON with base64 texts, in the field image (one) or images (several)"


class RefusedError(ValueError):
    """A request that is not answered.

    Args:
        status: Of the HTTP response, 400 to 599.
        message: One line: what is wrong, and what to do.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Question:
    """The images of a request.

    Args:
        images: Content of each file.
        is_single: Whether the answer is one object, not a list.
        top: Number of classes in each answer.
        heat_map: Whether the places that speak for the class are wanted.
    """

    images: tuple[bytes, ...]
    is_single: bool
    top: int = 5
    heat_map: bool = False


@dataclass(frozen=True)
class Answer:
    """The answer to a request.

    Args:
        content: What becomes JSON.
        status: Of the HTTP response.
    """

    content: Any
    status: int = 200

    @property
    def body(self) -> bytes:
        """One line of JSON in ASCII: names of classes may hold what is no UTF-8."""
        return f"{json.dumps(self.content)}\n".encode("ascii")


class Intake:
    """Reads requests, and limits how much of them is held in memory.

    Args:
        max_bytes: Largest body of a request.
        max_held: Bodies that wait for their answers, in bytes; one of ``max_bytes`` is always possible.
    """

    def __init__(self, max_bytes: int, max_held: int = MAX_HELD) -> None:
        self.max_bytes = max_bytes
        self.max_held = max_held
        # What has arrived of each request. An announced size does not count: it costs a client nothing.
        self._held: Counter[Request] = Counter()

    @contextmanager
    def admit(self, request: Request) -> Iterator[None]:
        """Counts a request until its answer is sent.

        Raises:
            RefusedError: If too many wait.
        """
        self._hold(request, 0)
        try:
            yield
        finally:
            del self._held[request]

    def _hold(self, request: Request, received: int) -> None:
        size = max(received, LEAST_HELD)
        others = self._held.total() - self._held[request]
        if others and others + size > self.max_held:
            raise RefusedError(503, "too many requests wait for an answer: try again later")
        self._held[request] = size

    async def read(self, request: Request) -> Question:
        """The question in the body of a request that is admitted, which is read no further than its largest size.

        Raises:
            RefusedError: If there is none, it is too large, or too much waits.
        """
        from starlette.requests import ClientDisconnect
        from starlette.requests import Request as CountedRequest

        if _announced(request) > self.max_bytes:
            raise self._too_large()  # uvicorn drops what still comes over a connection that is kept
        counted = CountedRequest(request.scope, self._counting(request))
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            async with asyncio.timeout(SECONDS_TO_ARRIVE):
                if content_type == "multipart/form-data":
                    return await _read_form(counted)
                if content_type == "application/json":
                    return _read_json(await counted.body())
        except TimeoutError as error:
            raise RefusedError(408, f"the request did not arrive within {SECONDS_TO_ARRIVE} seconds") from error
        except ClientDisconnect as error:
            raise RefusedError(400, "the request ended early") from error
        raise RefusedError(415, f"unknown content type {content_type!r}: {USAGE}" if content_type else USAGE)

    def _counting(self, request: Request) -> Receive:
        """Receives a body until it is refused, and drops the rest: a client that still sends hears no answer."""
        received = 0

        async def receive_and_count() -> Message:
            nonlocal received
            message = await request.receive()
            received += len(message.get("body", b""))
            try:
                if received > self.max_bytes:
                    raise self._too_large()
                self._hold(request, received)
            except RefusedError:
                while message.get("more_body"):
                    message = await request.receive()
                raise
            return message

        return receive_and_count

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the request is larger than {format_bytes(self.max_bytes)}: send smaller or fewer images")


def _announced(request: Request) -> int:
    """The size of a body according to its header; 0 if there is none."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


async def _read_form(request: Request) -> Question:
    from starlette.datastructures import UploadFile

    # Further files and fields are refused by the parser.
    async with request.form(max_files=MAX_IMAGES, max_fields=len(FIELDS), max_part_size=100) as form:
        fields: dict[str, Any] = {}
        for name, value in form.multi_items():
            is_file = isinstance(value, UploadFile)
            if is_file and name in ("image", "images"):
                fields.setdefault(name, []).append(await value.read())
            elif is_file or name in ("image", "images"):
                raise RefusedError(400, f"{_quoted(name)} must be {'a value' if is_file else 'a file'}: {USAGE}")
            else:
                fields[name] = value
    if isinstance(fields.get("top"), str):
        fields["top"] = int(fields["top"]) if fields["top"].isdecimal() else fields["top"]
    if "heat_map" in fields:
        fields["heat_map"] = {"true": True, "1": True, "false": False, "0": False}.get(fields["heat_map"])
    if len(fields.get("image", "-")) > 1:
        raise RefusedError(400, "image is one file: send several in the field images")
    return _question(fields | ({"image": fields["image"][0]} if "image" in fields else {}))


def _read_json(body: bytes) -> Question:
    if sum(body.count(sign) for sign in (b"[", b"{", b",")) > MAX_SIGNS:
        raise RefusedError(400, f"the body has over {MAX_SIGNS} brackets and commas: send up to {MAX_IMAGES} images")
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise RefusedError(400, "the body is not JSON") from error
    if not isinstance(fields, dict):
        raise RefusedError(400, f"the body is not a JSON object: {USAGE}")
    if "image" in fields:
        fields["image"] = _from_base64(fields["image"], "image")
    if "images" in fields:
        texts = fields["images"] if isinstance(fields["images"], list) else None
        if texts is None or len(texts) > MAX_IMAGES:
            raise RefusedError(400, f"images must be a list of up to {MAX_IMAGES} base64 texts")
        fields["images"] = [_from_base64(text, f"images[{number}]") for number, text in enumerate(texts)]
    return _question(fields)


def _from_base64(text: Any, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError) as error:
        raise RefusedError(400, f"{name} is not a base64 text") from error


def _question(fields: dict[str, Any]) -> Question:
    """The question in the fields of a request, whose images are bytes."""
    if unknown := fields.keys() - set(FIELDS):
        raise RefusedError(400, f"unknown field {_quoted(min(unknown))}: {USAGE}")
    if ("image" in fields) == ("images" in fields):
        raise RefusedError(400, f"the request holds {'both image and images' if 'image' in fields else 'no image'}: {USAGE}")
    top, heat_map = fields.get("top", 5), fields.get("heat_map", False)
    if type(top) is not int or top < 1:
        raise RefusedError(400, f"top must be a whole number of at least 1, got {_quoted(top)}")
    if not isinstance(heat_map, bool):
        raise RefusedError(400, "heat_map must be true or false")
    images = (fields["image"],) if "image" in fields else tuple(fields["images"])
    if not images:
        raise RefusedError(400, "images is empty: send at least one")
    return Question(images, "image" in fields, top, heat_map)


def _quoted(value: Any) -> str:
    """What a client sent, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
