"""Processes that train the cells of a study."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

from lit_cnn.system.memory import keep_freed_memory


@contextlib.contextmanager
def start_workers(jobs: int, prepare: Callable[[], None] | None) -> Iterator[ProcessPoolExecutor]:
    """Processes that train. After an error or Ctrl-C they are ended, whatever they train.

    Args:
        jobs: Number of processes.
        prepare: Called first in each; a function of a module, since it is sent to another process.
    """
    others = multiprocessing.active_children()
    # Not forked: torch's threads do not survive it.
    context = multiprocessing.get_context("spawn")
    workers = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(prepare,))
    succeeded = False
    try:
        with _ignoring_interrupts():  # which the processes inherit: Ctrl-C while they start prints nothing
            for _ in range(jobs):
                workers.submit(os.getpid)
        yield workers
        succeeded = True
    finally:
        if not succeeded:
            for process in set(multiprocessing.active_children()) - set(others):
                process.kill()  # Lightning answers SIGTERM by finishing its step
        workers.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start_worker(prepare: Callable[[], None] | None) -> None:
    # Ctrl-C reaches all processes; the first one decides what happens to the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    if prepare:
        prepare()


def _end_with_parent() -> None:
    """Ends this process when the first one has ended in any way, on every system."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
