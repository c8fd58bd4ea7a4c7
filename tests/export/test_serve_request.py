"""What a client may ask, and what is refused before anything is computed."""

import asyncio
import base64
import contextlib
import json

import pytest

from lit_cnn.export import serve_request
from lit_cnn.export.load_test import CONTENT_TYPE, make_form
from lit_cnn.export.serve_request import MAX_IMAGES, MAX_SIGNS, Answer, Intake, Question, RefusedError

pytest.importorskip("starlette")
from starlette.requests import Request

JSON = "application/json"


def form(*parts: tuple[str, str | None, bytes]) -> tuple[bytes, str]:
    """A form, and its type."""
    return make_form(*parts), CONTENT_TYPE


def make_request(body: bytes, content_type: str, length: int | None = None, chunk: int = 1000) -> Request:
    """A request whose body comes in chunks."""
    chunks = [body[start : start + chunk] for start in range(0, len(body), chunk)] or [b""]

    async def receive() -> dict:
        if not chunks:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    headers = [(b"content-type", content_type.encode())]
    headers += [] if length is None else [(b"content-length", str(length).encode())]
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers, "query_string": b"", "app": None}
    return Request(scope, receive)


def ask(body: bytes, content_type: str, max_bytes: int = 10_000) -> Question:
    return asyncio.run(Intake(max_bytes).read(make_request(body, content_type)))


def as_json(**fields: object) -> tuple[bytes, str]:
    return json.dumps(fields).encode(), JSON


A, B = (base64.b64encode(content).decode() for content in (b"one", b"two"))


@pytest.mark.parametrize(
    ("sent", "question"),
    [
        (form(("image", "a.png", b"one")), Question((b"one",), True)),
        (form(("image", "", b"one"), ("top", None, b"3")), Question((b"one",), True, 3)),
        (form(("images", "a", b"one"), ("heat_map", None, b"true")), Question((b"one",), False, 5, True)),
        (form(("images", "a", b"one"), ("images", "b", b"two")), Question((b"one", b"two"), False)),
        (as_json(image=A), Question((b"one",), True)),
        (as_json(images=[A, B], top=2, heat_map=True), Question((b"one", b"two"), False, 2, True)),
        ((as_json(image=A)[0], "application/json; charset=utf-8"), Question((b"one",), True)),
    ],
    ids=range(7),
)
def test_images_come_in_forms_and_in_json(sent: tuple[bytes, str], question: Question):
    assert ask(*sent) == question


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        ((b"", ""), 415, "send a form with files, or JSON"),
        ((b"abc", "image/png"), 415, "unknown content type 'image/png'"),
        ((b"", JSON), 400, "the body is not JSON"),
        ((b"[" * MAX_SIGNS, JSON), 400, "the body is not JSON"),
        ((b'{"a":[' + b"[]," * MAX_SIGNS + b"[]]}", JSON), 400, "over 200 brackets and commas: send up to 64 images"),
        (as_json(a=[0] * 2 * MAX_SIGNS), 400, "over 200 brackets and commas"),
        ((b'{"image": "\xff"}', JSON), 400, "the body is not JSON"),
        ((b"[1]", JSON), 400, "the body is not a JSON object"),
        (as_json(), 400, "the request holds no image"),
        (as_json(image=A, images=[A]), 400, "the request holds both image and images"),
        (as_json(picture=A), 400, "unknown field 'picture'"),
        (as_json(**{"x" * 1000: A}), 400, "unknown field 'xxxx"),
        (as_json(image=5), 400, "image is not a base64 text"),
        (as_json(images=[A, "é"]), 400, r"images\[1\] is not a base64 text"),
        (as_json(images=A), 400, "images must be a list of up to 64 base64 texts"),
        (as_json(images=[A] * (MAX_IMAGES + 1)), 400, "images must be a list of up to 64 base64 texts"),
        (as_json(images=[]), 400, "images is empty: send at least one"),
        (as_json(image=A, top=True), 400, "top must be a whole number of at least 1, got True"),
        (as_json(image=A, top=0), 400, "top must be a whole number of at least 1, got 0"),
        (as_json(image=A, heat_map="yes"), 400, "heat_map must be true or false"),
        (form(("picture", "a.png", b"one")), 400, "'picture' must be a value"),
        (form(("image", None, b"one")), 400, "'image' must be a file"),
        (form(("image", "a", b"one"), ("image", "b", b"two")), 400, "image is one file: send several in the field images"),
        (form(("image", "a", b"one"), ("top", None, b"many")), 400, "top must be a whole number of at least 1, got 'many'"),
        (form(("image", "a", b"one"), ("heat_map", None, b"maybe")), 400, "heat_map must be true or false"),
        (form(), 400, "the request holds no image"),
        (form(("image", "a", b"x" * 10_000)), 413, "larger than 0.0 MB"),
        ((b"x" * 10_001, JSON), 413, "larger than 0.0 MB"),
    ],
    ids=range(28),
)
def test_other_requests_are_refused_in_one_short_line(sent: tuple[bytes, str], status: int, message: str):
    with pytest.raises(RefusedError, match=message) as refused:
        ask(*sent)
    assert refused.value.status == status
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "sent",
    [
        (b"abc", "multipart/form-data"),
        (b"\x00\xff--xx" * 9, "multipart/form-data; boundary=xx"),
        form(("top", None, b"9" * 101)),
        form(*[("images", "a", b"")] * (MAX_IMAGES + 1)),
        form(*[("top", None, b"1")] * 5),
    ],
    ids=["no boundary", "no form", "long value", "many files", "many fields"],
)
def test_what_the_parser_of_forms_refuses_is_a_fault_of_the_client(sent: tuple[bytes, str]):
    from starlette.exceptions import HTTPException

    with pytest.raises(HTTPException) as refused:
        ask(*sent)
    assert refused.value.status_code == 400


def test_a_body_in_chunks_that_is_too_large_is_received_to_its_end_and_dropped():
    request = make_request(b"x" * 9000, JSON)
    with pytest.raises(RefusedError, match="larger than") as refused:
        asyncio.run(Intake(1000).read(request))
    assert refused.value.status == 413
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(request.receive(), 0.01))


def test_a_body_whose_announced_size_is_too_large_is_not_awaited():
    request = make_request(b"x" * 9000, JSON, length=99_999_999_999)
    with pytest.raises(RefusedError, match="larger than") as refused:
        asyncio.run(Intake(1000).read(request))
    assert refused.value.status == 413
    assert asyncio.run(request.receive())["body"] == b"x" * 1000


def test_requests_beyond_the_memory_for_them_are_refused_until_others_are_answered():
    intake = Intake(400_000, max_held=500_000)
    large, other, small = (make_request(*as_json(image="A" * size), chunk=100_000) for size in (300_000, 300_000, 8))

    async def ask_all() -> None:
        with intake.admit(large):
            await intake.read(large)
            with pytest.raises(RefusedError, match="try again later") as refused, intake.admit(other):
                await intake.read(other)
            assert refused.value.status == 503
            with pytest.raises(TimeoutError):  # it was received to its end
                await asyncio.wait_for(other.receive(), 0.01)
            with intake.admit(small):
                await intake.read(small)
        again = make_request(*as_json(image="A" * 300_000))
        with intake.admit(again):
            await intake.read(again)

    asyncio.run(ask_all())


def test_an_announced_size_counts_once_it_has_arrived():
    intake = Intake(400_000, max_held=500_000)
    small = make_request(*as_json(image=A))
    with contextlib.ExitStack() as waiting:
        for _ in range(6):
            waiting.enter_context(intake.admit(make_request(b"", JSON, length=400_000)))
        with intake.admit(small):
            assert asyncio.run(intake.read(small)).images == (b"one",)
            with pytest.raises(RefusedError, match="try again later"), intake.admit(make_request(b"", JSON)):
                pass


def test_a_body_that_does_not_arrive_is_not_awaited(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serve_request, "SECONDS_TO_ARRIVE", 0.01)

    async def receive() -> dict:
        await asyncio.sleep(60)
        raise AssertionError

    request = make_request(b"", JSON)
    request = Request(request.scope, receive)
    with pytest.raises(RefusedError, match="did not arrive") as refused:
        asyncio.run(Intake(1000).read(request))
    assert refused.value.status == 408


def test_a_client_that_leaves_is_no_fault_of_the_server():
    async def receive() -> dict:
        return {"type": "http.disconnect"}

    with pytest.raises(RefusedError, match="ended early"):
        asyncio.run(Intake(1000).read(Request(make_request(b"", JSON).scope, receive)))


def test_an_answer_is_one_line_of_ascii():
    body = Answer({"class": "cafe\u0301 \udcff\n"}).body
    assert body.isascii()
    assert body.count(b"\n") == 1
    assert json.loads(body) == {"class": "cafe\u0301 \udcff\n"}
