"""What is promised of faults and abuse, tried on real processes."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command

from lit_cnn.runs.folder import Run

# A network with dropout, and a pause in each step, so that a signal finds the training under way.
MODULE = '''
import os, signal, time
from pytorch_lightning.callbacks import Callback
from torch import nn
from lit_cnn.training.classifier import LitClassifier

class LitSmall(LitClassifier):
    def __init__(self, num_classes: int = 10, in_channels: int = 1):
        network = nn.Sequential(nn.Conv2d(in_channels, 4, 5, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                                nn.Dropout(0.5), nn.Linear(576, num_classes))
        super().__init__(network, num_classes, in_channels, lr=0.05, schedule="one_cycle")

class Slow(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 2 or "SOON" in os.environ:
            open("under_way", "w").close()
        time.sleep(float(os.environ.get("PAUSE", "0")))

class Dies(Callback):
    """Kills the process at one moment: a hook, an epoch, and a batch where the hook is one of a batch."""

    def __init__(self):
        if "DIES" in os.environ:
            hook, *self.moment = os.environ["DIES"].split()
            setattr(self, hook, self.maybe)

    def maybe(self, trainer, pl_module, *rest):
        batch = [value for value in rest if isinstance(value, int)][:1]
        if [str(value) for value in [trainer.current_epoch, *batch]] == self.moment:
            os.kill(os.getpid(), int(os.environ.get("BY", signal.SIGKILL)))

class Fails(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_rank == 1 and batch_idx == 3:
            raise ValueError("this is the root of it")
'''
# 96 images train in 12 batches, 32 validate in 4.
FIT = ["fit", "--model", "small.LitSmall", "--data", "FakeImages", "--data.num_images", "128", "--data.batch_size", "8"]
FIT += ["--data.crop_padding", "2", "--data.flip", "true", "--trainer.max_epochs", "3", "--trainer.accelerator", "cpu"]
FIT += ["--trainer.callbacks+=small.Slow", "--save_every_steps", "1", "--trainer.log_every_n_steps", "1"]
STEPS = 36


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module above, which configurations may name."""
    (tmp_path / "small.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.setenv("LIT_CNN_ALLOW", "small")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("small", None)


def start(folder: Path, *arguments: str | Path, pause: float = 0.1) -> subprocess.Popen[str]:
    """Starts ``lit-cnn`` in a session of its own, where its processes can be counted."""
    return subprocess.Popen(
        [sys.executable, "-m", "lit_cnn", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PAUSE": str(pause)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until_under_way(folder: Path) -> None:
    """Waits for the third step of a training, and forgets it for the next."""
    end = time.monotonic() + 120
    while not (folder / "under_way").exists():
        assert time.monotonic() < end, "nothing was trained"
        time.sleep(0.02)
    (folder / "under_way").unlink()


def wait_for_step(folder: Path, step: int) -> Run:
    """Waits until a run has saved this many steps."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for path in folder.glob("runs/*/*/*/checkpoints/last.ckpt"):
            run = Run(path.parent.parent)
            # It is replaced all the time, but never half of it is there.
            if torch.load(path, weights_only=True)["global_step"] >= step:
                return run
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint of step {step}")


def processes_of(session: int) -> list[int]:
    """Processes of a session that have not ended."""

    def is_in_it(pid: str) -> bool:
        try:
            state, _, _, of_session = Path("/proc", pid, "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:4]
        except OSError:
            return False
        return int(of_session) == session and state != "Z"

    names = [path.name for path in Path("/proc").iterdir()]
    return [int(pid) for pid in names if pid.isdigit() and is_in_it(pid)]


def digest(run: Run) -> str:
    """SHA-256 of the last checkpoint's weights, optimiser and schedule."""
    state = torch.load(run.last, weights_only=True)
    whole = hashlib.sha256(repr(state["lr_schedulers"]).encode())

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            whole.update(value.numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                whole.update(repr(key).encode())
                add(value[key])
        elif isinstance(value, list):
            for item in value:
                add(item)
        else:
            whole.update(repr(value).encode())

    add(state["state_dict"])
    add(state["optimizer_states"])
    return whole.hexdigest()


def metrics(run: Run) -> list[dict[str, str]]:
    """Rows of the run's metrics, less what the clock says."""
    with run.metrics.open() as file:
        return [{k: v for k, v in row.items() if k not in ("seconds", "train/images_per_s")} for row in csv.DictReader(file)]


def shown_steps(run: Run) -> list[int]:
    """Steps of which TensorBoard shows a loss."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path), {"scalars": 0})
    events.Reload()
    return [event.step for event in events.Scalars("train/loss_step")]


def only_run(folder: Path) -> Run:
    (path,) = folder.glob("runs/*/*/*")
    return Run(path)


@pytest.fixture(scope="module")
def of_the_whole() -> list[tuple[str, list[dict[str, str]]]]:
    """What :func:`whole` found, once it has."""
    return []


@pytest.fixture
def whole(workplace: Path, lit_cnn: Command, of_the_whole: list) -> tuple[str, list[dict[str, str]]]:
    """What a run ends with that was never stopped."""
    if not of_the_whole:
        done = lit_cnn(*FIT, "--runs_dir", "never_stopped/runs")
        assert done.returncode == 0, done.stderr
        (workplace / "under_way").unlink()
        run = only_run(workplace / "never_stopped")
        assert shown_steps(run) == list(range(STEPS))
        of_the_whole.append((digest(run), metrics(run)))
    return of_the_whole[0]


def check(
    run: Run, whole: tuple[str, list[dict[str, str]]], resumed: subprocess.CompletedProcess[str], lost_points: int = 0
) -> None:
    assert resumed.returncode == 0, resumed.stderr
    assert metrics(run) == whole[1]
    assert digest(run) == whole[0]
    shown = shown_steps(run)
    assert sorted(set(shown)) == shown
    assert len(set(range(STEPS)) - set(shown)) <= lost_points


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_amid_an_epoch(workplace: Path, lit_cnn: Command, whole: tuple, workers: int):
    process = start(workplace, *FIT, "--data.num_workers", str(workers))
    run = wait_for_step(workplace, 16)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 16 <= torch.load(run.last, weights_only=True)["global_step"] < STEPS
    # The dashboard gets the point of a step after the step is saved.
    check(run, whole, lit_cnn("fit", "--run", run.path), lost_points=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        "on_train_batch_start 0 0",
        "on_train_batch_start 1 0",
        "on_train_batch_start 1 11",
        "on_train_epoch_end 1",
        "on_train_epoch_start 2",
        "on_validation_start 1",
        "on_validation_batch_start 1 2",
        "on_validation_end 2",
    ],
)
def test_killed_at_any_moment(workplace: Path, lit_cnn: Command, whole: tuple, monkeypatch: pytest.MonkeyPatch, moment: str):
    monkeypatch.setenv("DIES", moment)
    process = start(workplace, *FIT, "--trainer.callbacks+=small.Dies", pause=0)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    monkeypatch.delenv("DIES")
    run = only_run(workplace)
    check(run, whole, lit_cnn("fit", "--run", run.path))


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_told_to_stop(workplace: Path, lit_cnn: Command, whole: tuple, signum: int, status: int):
    process = start(workplace, *FIT, "--save_every_steps", "1000")  # nothing is saved but for the signal
    wait_until_under_way(workplace)
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, out + err
    run = only_run(workplace)
    assert f"stopped; resume with: lit-cnn resume {run.path.relative_to(workplace)}" in out
    assert "Traceback" not in err
    state = torch.load(run.last, weights_only=True)
    assert 0 < state["global_step"] < STEPS
    check(run, whole, lit_cnn("fit", "--config", run.config, "--ckpt_path", "last"))


@pytest.mark.slow
def test_a_second_ctrl_c_quits_at_once(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOON", "1")
    process = start(workplace, *FIT, pause=30)
    wait_until_under_way(workplace)  # it sleeps in its first step
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - began < 5
    assert "press Ctrl-C again to quit at once" in err


TWO = [*FIT, "--trainer.devices", "2", "--trainer.strategy", "ddp"]


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_two_processes_stopped_and_resumed(workplace: Path, signum: int):
    options = [*TWO, "--ema", "0.9"]
    done = start(workplace, *options, "--runs_dir", "never_stopped/runs", pause=0)
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, out + err
    (workplace / "under_way").unlink()
    never_stopped = only_run(workplace / "never_stopped")
    if signum == signal.SIGTERM:
        process = start(workplace, *options, "--save_every_steps", "1000")
        wait_until_under_way(workplace)
        run = only_run(workplace)
        other = next(pid for pid in processes_of(process.pid) if pid != process.pid)
        os.kill(other, signum)
    else:
        process = start(workplace, *options)
        run = wait_for_step(workplace, 16)
        process.kill()
    out, err = process.communicate(timeout=60)
    assert process.returncode == (-signum if signum == signal.SIGKILL else 128 + signum), out + err
    assert 0 < torch.load(run.last, weights_only=True)["global_step"] < STEPS
    resumed = start(workplace, "fit", "--run", run.path, pause=0)
    out, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, out + err
    assert metrics(run) == metrics(never_stopped)
    assert digest(run) == digest(never_stopped)


@pytest.mark.slow
@pytest.mark.parametrize("dies", ["the first", "the second", "raises", "is told to stop"])
def test_no_process_outlives_another(workplace: Path, dies: str):
    raising = ["--trainer.callbacks+=small.Fails"] if dies == "raises" else []
    process = start(workplace, *TWO, *raising)
    run = wait_for_step(workplace, 2)
    (other,) = [pid for pid in processes_of(process.pid) if pid != process.pid]
    if dies == "the first":
        process.kill()
    elif dies == "the second":
        os.kill(other, signal.SIGKILL)
    elif dies == "is told to stop":
        process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    _, err = process.communicate(timeout=20)
    while processes_of(process.pid) and time.monotonic() - began < 20:
        time.sleep(0.1)
    assert processes_of(process.pid) == []
    assert time.monotonic() - began < 20
    assert process.returncode != 0
    if dies == "raises":
        assert "lit-cnn: error: this is the root of it" in err
        assert process.returncode in (1, 2)
    if dies == "is told to stop":
        assert process.returncode == 143
    assert torch.load(run.last, weights_only=True)["global_step"] >= 2


@pytest.mark.slow
def test_two_runs_begun_at_once_have_two_folders(workplace: Path):
    both = [start(workplace, *FIT, "--trainer.max_epochs", "1", pause=0) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    runs = [Run(path) for path in workplace.glob("runs/*/*/*")]
    assert len(runs) == 2
    assert digest(runs[0]) == digest(runs[1])


@pytest.fixture
def slurm(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """What a job of SLURM finds, and where its run is to be."""
    (workplace / "scontrol").write_text('#!/bin/sh\necho "$@" >> requeued\n')
    (workplace / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join((str(workplace), os.environ["PATH"])))
    for name, value in {"JOB_ID": "123", "NTASKS": "1", "JOB_NAME": "train", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    run = Run(workplace / "runs" / "of_the_job")
    monkeypatch.setenv("LIT_CNN_RUN_FOLDER", str(run.path))
    return run


@pytest.mark.slow
def test_slurms_requeue_signal(workplace: Path, lit_cnn: Command, whole: tuple, slurm: Run, monkeypatch: pytest.MonkeyPatch):
    process = start(workplace, *FIT, "--save_every_steps", "1000")
    wait_until_under_way(workplace)
    process.send_signal(signal.SIGUSR1)
    while not (workplace / "requeued").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)  # as SLURM does next
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert (workplace / "requeued").read_text() == "requeue 123\n"
    assert 0 < torch.load(slurm.last, weights_only=True)["global_step"] < STEPS
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    check(slurm, whole, lit_cnn(*FIT))


@pytest.mark.usefixtures("slurm")
def test_slurms_requeue_signal_in_the_last_validation(workplace: Path, lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DIES", "on_validation_batch_start 0 1")
    monkeypatch.setenv("BY", str(int(signal.SIGUSR1)))
    done = lit_cnn(*FIT, "--trainer.callbacks+=small.Dies", "--trainer.max_epochs", "1")
    assert done.returncode == 0, done.stderr
    assert (workplace / "requeued").read_text() == "requeue 123\n"


def test_the_folder_of_a_run_is_not_taken_for_another(lit_cnn: Command, slurm: Run, monkeypatch: pytest.MonkeyPatch):
    once = [*FIT, "--trainer.max_epochs", "1"]
    assert lit_cnn(*once).returncode == 0
    before = slurm.last.read_bytes()
    done = lit_cnn(*once)
    assert done.returncode == 2
    assert "of_the_job holds a run: resume it with --run, or name another folder" in done.stderr
    assert slurm.last.read_bytes() == before
    monkeypatch.delenv("LIT_CNN_RUN_FOLDER")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    done = lit_cnn(*once)
    assert done.returncode == 2
    assert "the folder of its run is not known: set LIT_CNN_RUN_FOLDER=runs/…" in done.stderr


def test_files_are_on_the_disk_when_they_replace_others(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    synced, sync = set(), os.fsync

    def note(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    options = ["--data", "FakeImages", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--name", "own"]
    assert lit_cnn("fit", "--model", "lenet", *options).returncode == 0
    (run,) = tmp_path.glob("runs/*/*/own")
    names = ["config.yaml", "data.json", "environment.json", "metrics.csv", "results.json", "confidence.json"]
    names += ["predictions/val.npz", "checkpoints/best.ckpt", "checkpoints/last.ckpt"]
    assert [name for name in names if (run / name).stat().st_ino not in synced] == []


def test_a_process_whose_starter_has_ended_meanwhile_ends_too():
    program = "from lit_cnn.system.processes import end_with_parent\nend_with_parent({parent})\nprint('goes on')"
    for parent, status in ((os.getpid(), 0), (os.getpid() + 1, -signal.SIGKILL)):
        done = subprocess.run([sys.executable, "-c", program.format(parent=parent)], capture_output=True, check=False)
        assert done.returncode == status
