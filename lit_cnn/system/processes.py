"""Processes of one training."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator

PR_SET_PDEATHSIG = 1  # option of Linux's prctl: the signal that a process gets when its parent ends


def end_with_parent(parent: int) -> None:
    """Makes Linux kill this process when its parent ends in any way. Does nothing on other systems.

    Args:
        parent: Process number of the parent. It may have ended while this process was starting.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def handing_on(variables: dict[str, str]) -> Iterator[None]:
    """Sets environment variables for the processes that are started in this context."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def started_by_a_launcher() -> bool:
    """Whether torchrun or SLURM started all processes. Otherwise the first process starts the others."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def is_first_process() -> bool:
    """Whether this is the first process of a training, however the others are started."""
    return next((os.environ[name] for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ), "0") == "0"
