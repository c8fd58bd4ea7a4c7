"""Starts measurements in processes of their own, so that each has its own memory and its own start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lit_cnn.benchmark.case import Case
from lit_cnn.system.processes import RESTARTS


def run_arm(arm: str, case: Case, num_workers: int = 0) -> dict[str, Any]:
    """Measures an arm, see :func:`lit_cnn.benchmark.arms.measure`.

    Raises:
        ChildProcessError: If it failed, with the last line that it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        request = {"arm": arm, "case": asdict(case), "num_workers": num_workers, "result": str(result)}
        command = [sys.executable, "-m", "lit_cnn.benchmark.arms", json.dumps(request)]
        _run(command, f"the arm {arm} of {case.model}")
        return json.loads(result.read_text(encoding="utf-8"))


def run_lit_cnn(*arguments: str) -> None:
    """Runs a command of ``lit-cnn``.

    Raises:
        ChildProcessError: If it failed, with the last line that it printed.
    """
    _run([sys.executable, "-m", "lit_cnn", *arguments], f"lit-cnn {arguments[0]}")


def _run(command: list[str], name: str) -> None:
    # In a job that was restarted, a measured training is none that goes on.
    environment = {name: value for name, value in os.environ.items() if name not in RESTARTS}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=environment)
    if done.returncode:
        raise ChildProcessError(f"{name} failed: {last_line(done.stderr) or last_line(done.stdout) or 'no output'}")


def last_line(output: str) -> str:
    """The last line with text; empty if there is none."""
    return (output.strip().splitlines() or [""])[-1]
