"""Several processes that train, and how they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from claim_files import CONTENT, study_of, write_claim
from conftest import ROOT

from lit_cnn.claims.results import Results
from lit_cnn.claims.run import run, run_cell
from lit_cnn.errors import TrainingError

HERE = Path()


def silent(_: str) -> None:
    pass


def numbers_of(results: Results) -> dict[str, Any]:
    volatile = ("seconds", "source")
    return {key: {name: of[name] for name in of if name not in volatile} for key, of in results.cells.items()}


@pytest.mark.slow
def test_processes_give_the_numbers_of_one_process(tmp_path: Path):
    found = []
    for jobs in (1, 2):
        results = Results.read(tmp_path / str(jobs), write_claim(tmp_path / str(jobs)))
        run(results, HERE, jobs, silent)
        found.append(results)
    one, two = found
    assert numbers_of(one) == numbers_of(two)
    assert one.decide() is two.decide()
    for study_cell in one.study_cells():
        own = run_cell(study_of(one.claim), study_cell, HERE)
        stored = one.cells[study_cell.key(study_of(one.claim))]
        assert [own[key] for key in ("values", "curve")] == [stored[key] for key in ("values", "curve")]


@pytest.mark.slow
def test_a_killed_process_is_told_and_the_others_end(tmp_path: Path):
    recipe = CONTENT["recipe"] | {"trainer": {"max_epochs": 10_000}}
    results = Results.read(tmp_path, write_claim(tmp_path, recipe=recipe, tuning={"rates": [0.1], "seeds": [100]}))
    children = multiprocessing.active_children()

    def kill_one() -> None:
        workers(children)[0].kill()

    def report(line: str) -> None:
        assert "trainings to do" in line
        threading.Timer(2, kill_one).start()

    with pytest.raises(TrainingError, match="a process of the study was killed; the same command resumes the study"):
        run(results, HERE, 2, report)
    assert workers(children) == []


def workers(others: list[Any]) -> list[Any]:
    return [process for process in multiprocessing.active_children() if process not in others]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to one thread, which POSIX systems have")
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_that_does_not_wake_the_first_thread_is_seen(tmp_path: Path):
    recipe = CONTENT["recipe"] | {"trainer": {"max_epochs": 100_000}}
    results = Results.read(tmp_path, write_claim(tmp_path, recipe=recipe, tuning={"rates": [0.1], "seeds": [100]}))
    children = multiprocessing.active_children()
    ended = threading.Event()
    killed = []

    def interrupt_another_thread() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        if not ended.wait(20):  # so that a run that does not see the signal ends, as a failure
            killed.extend(workers(children))
            killed[0].kill()

    def report(line: str) -> None:
        assert "trainings to do" in line
        threading.Timer(1, interrupt_another_thread).start()

    with pytest.raises(KeyboardInterrupt):
        run(results, HERE, 1, report)
    ended.set()
    assert not killed


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs groups of processes, which POSIX systems have")
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("seconds", [0, 8], ids=["while the process starts", "while it trains"])
def test_ctrl_c_ends_all_processes_at_once(tmp_path: Path, seconds: int):
    write_claim(tmp_path / "experiments", recipe=CONTENT["recipe"] | {"trainer": {"max_epochs": 100_000}})
    with subprocess.Popen(
        [sys.executable, "-m", "lit_cnn", "claims", "run", "1", "--experiments", "experiments", "--jobs", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        assert started.stdout is not None
        try:
            lines = [started.stdout.readline(), started.stdout.readline()]
            assert "4 of 4 trainings to do: tune" in lines[1]
            time.sleep(seconds)
            os.killpg(started.pid, signal.SIGINT)
            begun = time.monotonic()
            _, errors = started.communicate(timeout=60)
        finally:
            started.kill()
    assert (started.returncode, errors) == (130, "")
    assert time.monotonic() - begun < 10
