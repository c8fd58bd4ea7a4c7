"""Processes of one training."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

PR_SET_PDEATHSIG = 1  # option of Linux's prctl: the signal that a process gets when its parent ends

# How often a job was restarted: by SLURM, by torchrun.
RESTARTS = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")


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
    return "TORCHELASTIC_RUN_ID" in os.environ or _num_slurm_tasks() > 1


def _num_slurm_tasks() -> int:
    # In an interactive job, as in Lightning, the user starts one process.
    is_interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return 1 if is_interactive else read_number("SLURM_NTASKS", 1)


def read_number(name: str, default: int | None = None, least: int = 0) -> int:
    """The whole number in an environment variable.

    Args:
        name: Name of the variable.
        default: What it is without the variable; None if it cannot be left out.
        least: The least that makes sense.

    Raises:
        ValueError: If it is no such number, or missing.
    """
    value = os.environ.get(name)
    if value is None and default is not None:
        return default
    if value is None:
        raise ValueError(f"the environment variable {name} is missing, which the launcher of this process must set")
    if not value.strip().isdecimal() or int(value) < least:
        raise ValueError(f"the environment variable {name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def launched_devices(devices: Any, num_nodes: int) -> dict[str, int]:
    """The number of devices on a node, and of nodes, that the processes of torchrun or SLURM need; empty without them.

    Args:
        devices: What the user asks for: a number, a list, or ``auto`` for as many as there are processes.
        num_nodes: Likewise; with ``auto``, as many as there are.

    Raises:
        ValueError: If the user asks for another number of devices than there are processes, or for nodes without a launcher;
            or if the launcher's variables make no sense.
    """
    if not started_by_a_launcher():
        if num_nodes > 1 and "MASTER_ADDR" not in os.environ:
            raise ValueError(f"num_nodes={num_nodes} would wait for processes that nobody starts: use torchrun or SLURM")
        return {}
    if "TORCHELASTIC_RUN_ID" in os.environ:
        launcher, processes = "torchrun", read_number("WORLD_SIZE", least=1)
        nodes = processes // read_number("LOCAL_WORLD_SIZE", least=1)
        numbers = [read_number(name) for name in ("RANK", "LOCAL_RANK")]
    else:
        launcher, processes = "SLURM", _num_slurm_tasks()
        nodes = read_number("SLURM_NNODES", read_number("SLURM_JOB_NUM_NODES", 1, least=1), least=1)
        numbers = [read_number(name, 0) for name in ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")]
    if max(numbers) >= processes:
        raise ValueError(f"{launcher} has started {processes} processes, but calls this one number {max(numbers)}")
    if str(devices) in ("auto", "-1"):
        if processes % nodes:
            raise ValueError(f"{launcher} must start equally many processes on each node, got {processes} on {nodes} nodes")
        return {"devices": processes // nodes, "num_nodes": nodes}
    if isinstance(devices, str) and devices.isdigit():
        count = int(devices)
    else:
        count = devices if isinstance(devices, int) else len(devices if isinstance(devices, list) else devices.split(","))
    # In a batch script without srun, this process is alone, whatever the job's number of tasks.
    is_alone = launcher == "SLURM" and "SLURM_STEP_NUM_TASKS" not in os.environ and is_first_process()
    if count * num_nodes != processes and not is_alone:
        raise ValueError(
            f"{launcher} has started {processes} processes, but devices × num_nodes is {count * num_nodes}: "
            f"leave out --trainer.devices and --trainer.num_nodes, or give as many"
        )
    return {}


def is_first_process() -> bool:
    """Whether this is the first process of a training, however the others are started."""
    return next((os.environ[name] for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ), "0") == "0"
