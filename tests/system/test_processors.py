"""Processors that other programs use, and what is left of them."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lit_cnn.system import processors
from lit_cnn.system.processors import OtherPrograms, share_of_threads, usable_processors


def test_a_busy_program_is_noticed():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        others = OtherPrograms()
        time.sleep(1)
        measured = others.busy_processors()
        busy.kill()
    assert 0.3 < measured <= psutil.cpu_count() + 0.1


def test_the_own_work_is_not_that_of_others():
    others, began, worked = OtherPrograms(), time.perf_counter(), time.process_time()
    while time.perf_counter() - began < 0.5:
        pass
    own = (time.process_time() - worked) / (time.perf_counter() - began)
    assert others.busy_processors() + own <= psutil.cpu_count() + 0.15


def test_programs_of_the_same_low_priority_count():
    program = (
        "import os, time; os.nice(5); from lit_cnn.system.processors import OtherPrograms; import psutil\n"
        "others, began, worked = OtherPrograms(), time.perf_counter(), time.process_time()\n"
        "while time.perf_counter() - began < 0.5: pass\n"
        "own = (time.process_time() - worked) / (time.perf_counter() - began)\n"
        "busy = others.busy_processors()\n"
        "assert 0.2 < busy <= psutil.cpu_count() + 0.15 - own, (busy, own)\n"
    )
    with subprocess.Popen([sys.executable, "-c", "import os; os.nice(5)\nwhile True: pass"]) as busy:
        time.sleep(0.2)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        busy.kill()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("used", "inside", "busy"), [(30, 0, 0), (62.5, 0, 2.5), (64, 0, 4), (30, 3, 3), (63, 1, 3)])
def test_a_share_of_a_large_machine_is_busy_by_its_own_programs_or_if_the_rest_is(
    monkeypatch: pytest.MonkeyPatch, used: float, inside: float, busy: float
):
    """A container may use the time of 4 of 64 processors, on whichever of them."""
    readings = iter([(0.0, 0.0, 0.0, 0.0), (1.0, used, 0.0, inside)])
    monkeypatch.setattr(processors, "_affinity", lambda: set(range(64)))
    monkeypatch.setattr(processors, "usable_processors", lambda: 4)
    monkeypatch.setattr(OtherPrograms, "_read", lambda _: next(readings))
    assert OtherPrograms().busy_processors() == busy


@pytest.mark.parametrize(
    ("usable", "busy", "num_processes", "threads"),
    [(2, 0.2, 1, 2), (2, 0.9, 1, 1), (2, 2.0, 1, 1), (16, 3.4, 1, 13), (16, 3.4, 4, 3), (2, 0.0, 4, 1)],
)
def test_busy_processors_are_left_out(usable: int, busy: float, num_processes: int, threads: int):
    assert share_of_threads(usable, busy, num_processes) == threads


def test_what_a_container_used_is_read(tmp_path: Path):
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert processors._used_inside(tmp_path / "cpu.stat") == 2.5
    assert processors._used_inside(tmp_path / "missing") == 0


@pytest.mark.parametrize("quota", ["max 100000\n", "", "a b"])
def test_without_a_limit_all_processors_of_the_process_are_usable(tmp_path: Path, quota: str):
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_processors(tmp_path / "cpu.max") == usable_processors(tmp_path / "missing") >= 1


@pytest.mark.parametrize("quota", ["100000 100000", "20000 100000"])
def test_the_limit_of_a_container_counts(tmp_path: Path, quota: str):
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_processors(tmp_path / "cpu.max") == 1
