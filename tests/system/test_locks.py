"""What one process does at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from lit_cnn.system import locks
from lit_cnn.system.locks import alone


def test_a_lock_that_is_held_is_refused_at_once_or_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locks, "LONGEST_WAIT_S", 0.1)
    lock = tmp_path / ".lock"
    with FileLock(lock):
        with pytest.raises(ValueError, match="another export is running"), alone(lock, "another export is running"):
            pass
        with (
            pytest.raises(TimeoutError, match=r"\.lock is held by another process: end it"),
            alone(lock),
        ):
            pass
    with alone(lock):
        assert lock.exists()
    assert not lock.exists()
