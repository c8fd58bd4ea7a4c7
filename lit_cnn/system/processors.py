"""Processors: how many this program may use, and how many others use."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

# The variable by which users and launchers decide on threads; torch's OpenMP reads it.
NUM_THREADS = "OMP_NUM_THREADS"
# Linux tells here how much time on processors a container gets: microseconds used, of so many.
QUOTA = Path("/sys/fs/cgroup/cpu.max")
# And here how much all programs in it have used, after "usage_usec".
USAGE = Path("/sys/fs/cgroup/cpu.stat")
# A shorter time tells nothing: the kernel counts in hundredths of a second.
SHORTEST = 0.2


class OtherPrograms:
    """Measures the processors that other programs use, from the moment when it is made.

    Programs of low priority (``nice``) give way to this one, and do not count unless it has a low priority too.
    """

    def __init__(self) -> None:
        self._start = self._read()

    def busy_processors(self) -> float:
        """How many processors they used, on average, of those that this program may use.

        In a container with a share of the machine's time, these are the programs in it, and those outside as far as they
        leave too little of the machine.
        """
        if time.perf_counter() - self._start[0] < SHORTEST:
            time.sleep(SHORTEST)
        used = (now - before for now, before in zip(self._read(), self._start, strict=True))
        seconds, all_programs, own, inside = used
        measured = len(_affinity()) or os.cpu_count() or 1
        beyond = measured - usable_processors()
        busy = (all_programs - own) / seconds - beyond
        return max(0.0, busy, (inside - own) / seconds if beyond else 0.0)

    def _read(self) -> tuple[float, float, float, float]:
        """The time, and seconds on processors: of all programs on those of this one, its own, of all in its container."""
        own, usable = psutil.Process(), _affinity()
        each = [cpu for number, cpu in enumerate(psutil.cpu_times(percpu=True)) if not usable or number in usable]
        used = sum(cpu.user + cpu.system for cpu in each)
        if own.nice() > 0:
            used += sum(getattr(cpu, "nice", 0.0) for cpu in each)
        return time.perf_counter(), used, sum(own.cpu_times()[:4]), _used_inside()


def _used_inside(usage: Path = USAGE) -> float:
    """Seconds that the programs in a container have used; 0 where the system does not tell."""
    with suppress(OSError, ValueError):
        words = usage.read_text(encoding="ascii").split()
        return int(dict(zip(words[::2], words[1::2], strict=False)).get("usage_usec", 0)) / 1e6
    return 0.0


def usable_processors(quota: Path = QUOTA) -> int:
    """How many processors this process may use.

    Args:
        quota: File in which Linux tells the share of a container.
    """
    number = len(_affinity()) or os.cpu_count() or 1
    try:
        used, period = quota.read_text(encoding="ascii").split()
        number = min(number, round(int(used) / int(period)))
    except (OSError, ValueError):
        pass  # no container, or one without a limit: "max 100000"
    return max(1, number)


def describe_load(usable: int, busy: float) -> str:
    """What other programs leave of the processors, in words."""
    return f"other programs keep {busy:.1f} of {usable} processor{'s' if usable > 1 else ''} busy"


def share_of_threads(usable: int, busy: float, num_processes: int = 1) -> int:
    """Threads for each process of a training, so that none shares its processor with another program.

    All threads wait for the slowest, many times a step, and keep their processors busy meanwhile: with one more thread than
    free processors, training is slower than without it.

    Args:
        usable: Processors that may be used.
        busy: How many of them other programs use.
        num_processes: Processes on this machine.
    """
    return max(1, (usable - round(busy)) // num_processes)


def _affinity() -> set[int]:
    """Numbers of the processors that this process may run on; empty where the system does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


# Measures since this module was imported: the command line imports it before all that takes time.
OTHER_PROGRAMS = OtherPrograms()
