"""The process that computes: LitServe hands it requests, it hands back answers.

Imported only when the extra ``serve`` is known to be installed: classes of LitServe are extended here.
"""

import hmac
import logging
import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from queue import Empty
from typing import Annotated, Any

from fastapi import Depends, Header, HTTPException, Request, Response
from litserve import LitAPI, configure_logging
from litserve.loops.base import LitLoop
from litserve.utils import LitAPIStatus, LoopResponseType

from lit_cnn.data.opening import reason
from lit_cnn.export.serve_request import Answer, Question
from lit_cnn.system.digests import digest_of

# A worker looks so often, in seconds, whether the server is still there.
SECONDS_IDLE = 1.0
# LitServe logs nothing at this level.
SILENT = logging.CRITICAL + 1


async def read_question(request: Request) -> AsyncIterator[Question]:
    """The question of a request, for FastAPI. The request counts as held until its answer is sent."""
    intake = request.app.state.intake
    with intake.admit(request):
        yield await intake.read(request)


class BatchLoop(LitLoop):
    """Answers what waits, up to a full batch, and sleeps while nothing does.

    LitServe's own loop asks its queue a thousand times a second, also when there are no requests, and one request that
    cannot be decoded fails its whole batch.
    """

    def __call__(
        self, lit_api: Any, device: Any, worker_id: int, request_queue: Any, transport: Any, *_: Any, **__: Any
    ) -> None:
        server = multiprocessing.parent_process()
        try:
            while server is None or server.is_alive():
                requests = self._collect(lit_api, request_queue, transport)
                if requests:
                    self._answer(lit_api, requests, transport)
        except (ConnectionError, EOFError):
            return  # the queue has ended with the server

    def _collect(self, lit_api: Any, queue: Any, transport: Any) -> list[tuple[int, str, Question]]:
        """Requests with at least as many images as a batch has, or those that come until the time to wait is over."""
        requests: list[tuple[int, str, Question]] = []
        num_images, wait, deadline = 0, SECONDS_IDLE, 0.0
        while num_images < lit_api.max_batch_size:
            try:
                consumer, uid, arrived, question = queue.get(timeout=wait) if wait > 0 else queue.get_nowait()
            except Empty:
                break
            now = time.monotonic()
            if now - arrived > lit_api.request_timeout:
                late = response(Answer({"error": "the server is busy: try again later"}, 503))
                self._send(transport, consumer, uid, late)
                continue
            deadline = deadline or now + lit_api.batch_timeout
            self._send(transport, consumer, uid, (), LitAPIStatus.START)
            requests.append((consumer, uid, question))
            num_images += len(question.images)
            wait = deadline - now
        return requests

    def _answer(self, lit_api: Any, requests: list[tuple[int, str, Question]], transport: Any) -> None:
        try:
            responses = lit_api.predict([question for *_, question in requests])
        except MemoryError:
            busy = Answer({"error": "the server has too little memory: try again later, or send fewer images"}, 503)
            responses = [response(busy)] * len(requests)
        except Exception:  # RuntimeError of torch, or a fault of this program: its owner sees it, others are still answered
            traceback.print_exc()
            responses = [response(Answer({"error": "the network cannot compute"}, 500))] * len(requests)
        for (consumer, uid, _), content in zip(requests, responses, strict=True):
            self._send(transport, consumer, uid, content)

    def _send(self, transport: Any, consumer: int, uid: str, content: Any, status: str = LitAPIStatus.OK) -> None:
        self.put_response(transport, consumer, uid, content, status, LoopResponseType.REGULAR)


class ClassifierAPI(LitAPI):
    """A run behind LitServe.

    Args:
        path: Folder of the run, or a checkpoint file.
        threads: With which a worker decodes and computes.
        batch_size: Images that the network gets at a time.
        batch_wait: Time to wait for a full batch once a request is there, in seconds.
        api_key: What the header ``X-API-Key`` must hold; None if anyone may ask.
        digest: Of the checkpoint that every worker must load, see :func:`lit_cnn.system.digests.digest_of`; None for any.
    """

    def __init__(
        self,
        path: str,
        threads: int,
        batch_size: int,
        batch_wait: float,
        api_key: str | None = None,
        digest: str | None = None,
    ) -> None:
        super().__init__(max_batch_size=batch_size, batch_timeout=batch_wait, loop=BatchLoop())
        self.path = path
        self.threads = threads
        self.api_key = api_key
        self.digest = digest
        # Why a worker could not start.
        self.problems = multiprocessing.get_context("spawn").SimpleQueue()

    async def authorize(self, x_api_key: Annotated[str | None, Header()] = None) -> None:
        """Refuses a request without the key, for FastAPI."""
        if self.api_key and not hmac.compare_digest((x_api_key or "").encode(), self.api_key.encode()):
            raise HTTPException(401, "the header X-API-Key does not hold the key of this server")

    def decode_request(self, request: Annotated[Question, Depends(read_question)]) -> Question:
        """LitServe takes from its annotation how a request is read."""
        return request

    def setup(self, device: Any) -> None:
        """Loads the run in a worker, on the fastest device of the machine."""
        # A terminal sends Ctrl-C to all processes; the server ends the workers itself.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        configure_logging(SILENT, stream=sys.stderr)  # LitServe would print the traceback of what is raised here
        try:
            self.answering = self._load()
        except Exception as error:
            # OSError or ValueError of the run; of torch and its device also RuntimeError, MemoryError or ImportError.
            named = reason(error) if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {reason(error)}"
            self.problems.put(named)
            raise

    def _load(self) -> Any:
        import torch

        from lit_cnn.export.serve_answers import Answering
        from lit_cnn.inference.loading import load_run

        torch.set_num_threads(self.threads)
        trained = load_run(self.path)
        if self.digest not in (None, digest_of(Path(trained.source))):
            raise ValueError(f"{trained.source} was replaced while it was served: start the server again")
        return Answering(trained, self.max_batch_size, self.threads, _heat_map)

    def problem(self) -> str | None:
        """Why a worker could not load the run, if one has told; each reason once."""
        return None if self.problems.empty() else self.problems.get()

    def predict(self, questions: list[Question]) -> list[Response]:
        """The responses to several requests."""
        return [response(answer) for answer in self.answering.answer(questions)]


def _heat_map(*arguments: Any) -> Any:
    from lit_cnn.inference.explain import heat_map

    return heat_map(*arguments)


def response(answer: Answer) -> Response:
    """An answer as it is sent."""
    return Response(answer.body, answer.status, media_type="application/json")
