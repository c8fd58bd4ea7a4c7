"""How many threads a command computes with on the processor."""

from __future__ import annotations

import os
from typing import Literal

import torch

from lit_cnn.commands.resuming import warn
from lit_cnn.system.processes import started_by_a_launcher
from lit_cnn.system.processors import NUM_THREADS, OTHER_PROGRAMS, describe_load, share_of_threads, usable_processors


def use_threads(threads: int | Literal["auto"], num_processes: int, command: str, has_option: bool = True) -> int:
    """Sets the number of threads of this process, and returns it.

    Args:
        threads: How many; ``auto`` for as many as other programs leave processors.
        num_processes: Processes that compute on this machine.
        command: For the warning.
        has_option: Whether the command has the option ``--threads``, which the warning then names.
    """
    usable = usable_processors()
    if threads == "auto":
        threads = torch.get_num_threads()
        # Who starts several processes, or sets this variable, has shared the processors out.
        if NUM_THREADS not in os.environ and not started_by_a_launcher():
            busy = OTHER_PROGRAMS.busy_processors()
            threads = share_of_threads(usable, busy, num_processes)
            if threads < share_of_threads(usable, 0, num_processes):
                advice = f"; --threads {usable // num_processes} uses all" if has_option else ""
                warn(f"{describe_load(usable, busy)}: {command} uses {threads} of {usable} threads{advice}")
    elif threads > usable:
        warn(f"{threads:,} threads were asked for, but {usable} can run at a time: {command} uses {usable}")
        threads = usable
    torch.set_num_threads(threads)
    return threads
