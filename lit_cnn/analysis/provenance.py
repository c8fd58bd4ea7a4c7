"""Files of results: what was measured, on which machine and commit, with which command."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from lit_cnn.runs.environment import DIRTY, source_commit, without_folders
from lit_cnn.system.json_files import write_object
from lit_cnn.training.precision import computes_in_bfloat16

# Takes a line about each measurement when it is done.
Report = Callable[[str], None]


def describe_machine() -> dict[str, Any]:
    """What results depend on: time, versions, commit, processor and GPU."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": measured_commit(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cpu_name": processor_name(),
        "cpu_computes_in_bfloat16": computes_in_bfloat16("cpu"),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processor_name() -> str:
    """As torch names the processor; as Python does before torch 2.12, which may be empty."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return capabilities.get("cpu_name") or platform.processor()


def measured_commit() -> str | None:
    """The commit of this source; changed results and pages do not make it dirty, since measuring changes them.

    Of ``experiments/results`` only JSON files and pictures are results; the scripts there are source.
    """
    commit = source_commit()
    if not commit or not commit.endswith(DIRTY):
        return commit
    results = [f":(top,exclude,glob)experiments/results/**/*{suffix}" for suffix in (".json", ".png")]
    pathspecs = [":(top)", *results, ":(top,exclude)docs"]
    command = ["git", "-C", str(Path(__file__).parent), "diff", "--quiet", "HEAD", "--", *pathspecs]
    changed = subprocess.run(command, capture_output=True, timeout=10, check=False).returncode != 0
    return commit if changed else commit.removesuffix(DIRTY)


def save(output: str | None, **measured: Any) -> None:
    """Writes results with their environment and command; without an output, does nothing."""
    if output:
        content = {"environment": describe_machine(), "command": ["lit-cnn", *without_folders(sys.argv[1:])], **measured}
        # A killed benchmark leaves the old file or the new one, since the recipes resume from it.
        write_object(Path(output), content)
