"""How often a worker is started, and how long a request waits."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.slow  # the import of LitServe takes seconds
litserve = pytest.importorskip("litserve")


def test_a_request_without_an_answer_is_refused_after_a_while(monkeypatch: pytest.MonkeyPatch):
    from litserve.utils import ResponseBufferItem

    from lit_cnn.export import serve_server

    monkeypatch.setattr(serve_server, "SECONDS_TO_ANSWER", 0.1)

    async def wait() -> list[tuple]:
        waiting = serve_server.Unanswered(0.01)
        for uid in ("answered", "lost", "late"):
            waiting[uid] = ResponseBufferItem(asyncio.Event())
        waiting["late"].worker_id = 0
        waiting["answered"].response = ("answer", "OK")
        waiting["answered"].event.set()
        await asyncio.wait_for(waiting["lost"].event.wait(), 10)
        assert not waiting["late"].event.is_set()
        await asyncio.wait_for(waiting["late"].event.wait(), 10)
        return [waiting.pop(uid).response for uid in ("answered", "lost", "late")]

    answered, *refused = asyncio.run(wait())
    assert answered == ("answer", "OK")
    for (late, status), seconds in zip(refused, ("0.01", "0.1"), strict=True):
        assert (status, late.status_code) == ("OK", 503)
        assert f"no answer after {seconds} seconds: try again later" in json.loads(late.body)["error"]


def test_a_worker_that_never_loads_the_run_is_started_three_times(monkeypatch: pytest.MonkeyPatch):
    from litserve.utils import WorkerSetupStatus

    from lit_cnn.export.serve_server import ClassifierServer
    from lit_cnn.export.serve_worker import ClassifierAPI

    starts, ends = [], []
    monkeypatch.setattr(litserve.LitServer, "launch_single_inference_worker", lambda *_: starts.append("start"))
    api = ClassifierAPI("nowhere", 1, 8, 0.0)
    server = ClassifierServer(api, accelerator="cpu", devices=1)
    server.when_failed = lambda: ends.append("end")
    server.inference_workers = [SimpleNamespace(exitcode=-9)]
    server.workers_setup_status = {"predict_0": WorkerSetupStatus.READY}
    for _ in range(5):  # it served, and died
        server.launch_single_inference_worker(api, 0)
    assert (len(starts), server.failure) == (5, None)
    server.workers_setup_status = {"predict_0": WorkerSetupStatus.STARTING}
    for _ in range(5):
        server.launch_single_inference_worker(api, 0)
    assert (len(starts), ends) == (5 + 2, ["end"])  # its first start is among the five
    assert "died 3 times (exit status -9)" in server.failure


@pytest.mark.usefixtures("one_thread")
def test_a_worker_refuses_a_checkpoint_that_replaced_the_served_one(photo_runs: Path):
    from lit_cnn.export.serve_worker import ClassifierAPI, digest_of

    (best,) = photo_runs.rglob("best.ckpt")
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        ClassifierAPI(str(best), 1, 8, 0.0, digest=digest_of(best)).setup("cpu")
        api = ClassifierAPI(str(best), 1, 8, 0.0, digest=digest_of(best.with_name("last.ckpt")))
        with pytest.raises(ValueError, match="was replaced"):
            api.setup("cpu")
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert api.problem() == f"{best} was replaced while it was served: start the server again"


@pytest.mark.usefixtures("one_thread")
def test_each_reason_why_a_run_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch):
    import lit_cnn.inference.loading as loading
    from lit_cnn.export.serve_worker import ClassifierAPI

    def fail(_: str) -> None:
        raise RuntimeError("no kernel image\nis available")

    monkeypatch.setattr(loading, "load_run", fail)
    interrupt = signal.getsignal(signal.SIGINT)
    api = ClassifierAPI("nowhere", 1, 8, 0.0)
    assert api.problem() is None
    try:
        with pytest.raises(RuntimeError):
            api.setup("cpu")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # Ctrl-C reaches the workers too
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert api.problem() == "RuntimeError: no kernel image is available"
    assert api.problem() is None
