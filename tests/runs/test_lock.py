"""One training at a time writes in a run's folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lit_cnn.runs.lock import RunLock, is_locked

HOLD = """
import sys
from pathlib import Path
from lit_cnn.runs.lock import RunLock

lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
input()
"""


def test_a_second_training_is_refused_and_told_about_the_first(tmp_path: Path):
    lock = RunLock(tmp_path)
    expected = rf"{re.escape(str(tmp_path))} is being trained by process {os.getpid()} on \S+ since 20\d\d-\d\d-\d\d "
    with pytest.raises(ValueError, match=expected):
        RunLock(tmp_path)
    lock.release()
    lock.release()
    RunLock(tmp_path).release()


def test_whether_a_folder_is_locked_is_known_without_writing(tmp_path: Path):
    assert not is_locked(tmp_path)
    assert not list(tmp_path.iterdir())
    lock = RunLock(tmp_path)
    assert is_locked(tmp_path)
    lock.release()
    (tmp_path / ".lock").touch()  # of a process that was killed
    assert not is_locked(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_the_lock_of_a_killed_process_does_not_hold(tmp_path: Path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(ValueError, match=f"by process {holder.pid} "):
        RunLock(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    RunLock(tmp_path).release()
