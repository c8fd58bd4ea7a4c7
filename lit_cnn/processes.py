"""Processes that belong together."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent ends


def end_with_parent() -> None:
    """Has this process killed when the one that started it ends in whatever way; on Linux, elsewhere nothing."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended by then
        os.kill(os.getpid(), signal.SIGKILL)


def started_by_a_launcher() -> bool:
    """Whether torchrun or SLURM started this process and its peers, rather than the first of them the others."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1
