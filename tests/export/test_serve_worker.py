"""How a worker takes requests from its queue."""

from __future__ import annotations

import queue
import time
from types import SimpleNamespace

import pytest

from lit_cnn.export.serve_request import Question

pytestmark = pytest.mark.slow  # the import of LitServe takes seconds


class Transport:
    """Keeps what is sent to clients."""

    def __init__(self) -> None:
        self.sent: list[tuple] = []

    def send(self, item: tuple, consumer_id: int) -> None:
        uid, (content, status, *_) = item
        self.sent.append((consumer_id, uid, status, content))


def collect(requests: list[tuple], batch_size: int = 4, wait: float = 0.0) -> tuple[list[str], Transport, queue.Queue]:
    """The requests that the loop takes at a time, by name."""
    pytest.importorskip("litserve")
    from lit_cnn.export.serve_worker import BatchLoop

    waiting: queue.Queue = queue.Queue()
    for request in requests:
        waiting.put(request)
    transport = Transport()
    api = SimpleNamespace(max_batch_size=batch_size, batch_timeout=wait, request_timeout=30)
    return [uid for _, uid, _ in BatchLoop()._collect(api, waiting, transport)], transport, waiting


def request(uid: str, num_images: int = 1, seconds_ago: float = 0.0) -> tuple:
    return 0, uid, time.monotonic() - seconds_ago, Question((b"",) * num_images, False)


def test_a_batch_is_what_waits_up_to_its_size_in_images():
    assert collect([request("a"), request("b")])[0] == ["a", "b"]
    taken, _, waiting = collect([request("a", 2), request("b", 3), request("c")])
    assert taken == ["a", "b"]
    assert waiting.qsize() == 1


def test_the_first_request_waits_for_others_only_so_long():
    began = time.monotonic()
    assert collect([request("a")], wait=0.05)[0] == ["a"]
    assert 0.04 < time.monotonic() - began < 5


def test_a_request_that_has_waited_too_long_is_refused():
    taken, transport, _ = collect([request("old", seconds_ago=31), request("new")])
    assert taken == ["new"]
    ((consumer, uid, status, response),) = transport.sent
    assert (consumer, uid, status, response.status_code) == (0, "old", "OK", 503)
    assert b"try again later" in response.body


@pytest.mark.parametrize(
    ("error", "status", "printed"),
    [(RuntimeError("CUDA error"), 500, "CUDA error"), (KeyError("a"), 500, "KeyError"), (MemoryError(), 503, "")],
    ids=["torch", "program", "memory"],
)
def test_a_worker_outlives_its_faults(error: Exception, status: int, printed: str, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("litserve")
    from lit_cnn.export.serve_worker import BatchLoop

    def predict(_: list[Question]) -> None:
        raise error

    transport = Transport()
    requests = [(0, uid, Question((b"",), True)) for uid in ("a", "b")]
    BatchLoop()._answer(SimpleNamespace(predict=predict), requests, transport)
    assert [(uid, response.status_code) for _, uid, _, response in transport.sent] == [("a", status), ("b", status)]
    assert printed in capsys.readouterr().err
