"""LitServe's server with two limits: how often a worker is started, and how long a request waits for its answer.

Imported only when the extra ``serve`` is known to be installed: classes of LitServe are extended here.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from litserve import LitServer
from litserve.utils import LitAPIStatus, ResponseBufferItem, WorkerSetupStatus

from lit_cnn.export.serve_request import Answer
from lit_cnn.export.serve_worker import response

# A worker is started so often without loading the run. Then the server ends.
MAX_STARTS = 3
# Time from the last byte of a request to its answer, in seconds.
SECONDS_TO_ANSWER = 120


class Unanswered(dict[str, ResponseBufferItem]):
    """The requests that wait for their answers, as LitServe keeps them.

    A request is refused if no worker takes it in time, as when a worker died that had just taken it, or if its answer takes
    too long.

    Args:
        seconds_to_wait: Time until a worker takes a request.
    """

    def __init__(self, seconds_to_wait: float) -> None:
        super().__init__()
        self._seconds_to_wait = seconds_to_wait
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __setitem__(self, uid: str, item: ResponseBufferItem) -> None:
        super().__setitem__(uid, item)
        self._refuse_later(uid, item, self._seconds_to_wait, 0)

    def _refuse_later(self, uid: str, item: ResponseBufferItem, seconds: float, waited: float) -> None:
        self._timers[uid] = asyncio.get_running_loop().call_later(seconds, self._refuse, uid, item, waited + seconds)

    def items(self) -> Any:
        """A copy, for LitServe's thread that watches the workers: requests come and go meanwhile."""
        return list(super().items())

    def pop(self, uid: str, *default: Any) -> Any:
        """The request with its answer."""
        if timer := self._timers.pop(uid, None):
            timer.cancel()
        return super().pop(uid, *default)

    def _refuse(self, uid: str, item: ResponseBufferItem, waited: float) -> None:
        if item.event.is_set():
            return
        if item.worker_id is not None and waited < SECONDS_TO_ANSWER:
            self._refuse_later(uid, item, SECONDS_TO_ANSWER - waited, waited)
            return
        message = f"there is no answer after {waited:g} seconds: try again later, or send fewer images"
        item.response = response(Answer({"error": message}, 503)), LitAPIStatus.OK
        item.event.set()


class ClassifierServer(LitServer):
    """A server whose workers are started anew when they die, unless they die while they load the run.

    Args:
        arguments: Of LitServer.
        options: Of LitServer.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.response_buffer = Unanswered(self.timeout)
        # Why no worker is started any more.
        self.failure: str | None = None
        self.when_failed: Callable[[], None] = lambda: None
        self._failed_starts: Counter[int] = Counter()

    def launch_single_inference_worker(self, lit_api: Any, worker_id: int) -> Any:
        """Starts a worker anew; LitServe calls this every two seconds while a worker is dead."""
        if self.failure is not None:
            return self.inference_workers[worker_id]
        status = self.workers_setup_status.get(f"{lit_api.api_path.split('/')[-1]}_{worker_id}")
        if status == WorkerSetupStatus.READY:
            self._failed_starts[worker_id] = 0
        else:
            self._failed_starts[worker_id] += 1
        if self._failed_starts[worker_id] < MAX_STARTS:
            return super().launch_single_inference_worker(lit_api, worker_id)
        dead = self.inference_workers[worker_id]
        self.failure = lit_api.problem() or (
            f"the process that loads the run died {MAX_STARTS} times (exit status {dead.exitcode}): "
            "is there memory enough? try fewer --workers"
        )
        self.when_failed()
        return dead
