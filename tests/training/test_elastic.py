"""A run that was stopped continues on another number of processes, with the weights of a run that was never stopped."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import Command

from lit_cnn.runs.folder import Run

# Stops the training at a batch, as a signal does that happens to come then. All processes get it, as from a terminal.
MODULE = """
import os, signal
from pytorch_lightning.callbacks import Callback
from torch import nn
from lit_cnn.training.classifier import LitClassifier

class LitDropout(LitClassifier):
    def __init__(self, num_classes: int = 10, in_channels: int = 1, **kwargs):
        network = nn.Sequential(nn.Conv2d(in_channels, 4, 5, stride=2), nn.Tanh(), nn.Dropout(0.2), nn.Flatten(),
                                nn.Dropout(0.5), nn.Linear(576, num_classes))
        super().__init__(network, num_classes, in_channels, **kwargs)

class Stops(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if os.environ.get("STOP_AT") == f"{trainer.current_epoch} {batch_idx}":
            os.kill(os.getpid(), signal.SIGTERM)
"""
# 20 batches an epoch. A learning rate that falls, mixed images and class weights: all must be as on one process.
FIT = ["fit", "--data", "Digits", "--data.image_size", "28", "--data.batch_size", "64"]
FIT += ["--data.crop_padding", "1", "--data.flip", "true", "--trainer.max_epochs", "2", "--trainer.precision", "64-true"]
FIT += ["--model.lr", "0.05", "--model.label_smoothing", "0.1", "--model.class_weights", "[1,2,3,1,1,4,1,1,0.5,1]"]
FIT += ["--data.augment.mixup", "0.4", "--data.augment.erasing", "0.3"]
FIT += ["--trainer.gradient_clip_val", "1", "--trainer.accelerator", "cpu", "--trainer.callbacks+=stops.Stops"]
# Unfrozen before the fifth batch, by the processes of the first part.
LENET = ["--model", "LitLeNet", "--model.freeze", "backbone", "--model.unfreeze_at", "0.1"]
WITH_DROPOUT = ["--model", "stops.LitDropout", "--data.balance", "sampler"]
ONE, TWO = ["--trainer.devices", "1"], ["--trainer.devices", "2"]
IN_FIRST_EPOCH, IN_SECOND_EPOCH = "0 7", "1 11"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module above, which configurations may name."""
    (tmp_path / "stops.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.setenv("LIT_CNN_ALLOW", "stops")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("stops", None)


def start(folder: Path, *command: str | Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(folder: Path, *arguments: str | Path, stop_at: str | None = None) -> None:
    """Trains in processes of their own, to the end or to a batch."""
    process = start(folder, "-m", "lit_cnn", *arguments, STOP_AT=stop_at or "")
    out, err = process.communicate(timeout=240)
    assert process.returncode == (143 if stop_at else 0), out + err


def only_run(folder: Path) -> Run:
    (path,) = folder.glob("runs/*/*/*")
    return Run(path)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.last, weights_only=True)["state_dict"]


def metrics(run: Run) -> list[dict[str, float]]:
    """Rows of the run's metrics, less what the clock says."""
    with run.metrics.open() as file:
        rows = list(csv.DictReader(file))
    return [{k: float(v) for k, v in row.items() if k not in ("seconds", "train/images_per_s")} for row in rows]


def images_trained(run: Run) -> int:
    return torch.load(run.last, weights_only=True)["callbacks"]["Recorder"]["images"]


def same(run: Run, other: Run) -> None:
    ours, theirs = weights(run), weights(other)
    assert ours.keys() == theirs.keys()
    assert all(tensor.dtype == torch.float64 for tensor in ours.values())
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
    assert images_trained(run) == images_trained(other)
    assert len(metrics(run)) == 2
    for row, expected in zip(metrics(run), metrics(other), strict=True):
        assert row == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def never_stopped(workplace: Path, lit_cnn: Command) -> Callable[[list[str]], Run]:
    """Trains a network on one process without a stop."""

    def fit(model: list[str]) -> Run:
        done = lit_cnn(*FIT, *model, *ONE, "--runs_dir", "never_stopped/runs")
        assert done.returncode == 0, done.stderr
        return only_run(workplace / "never_stopped")

    return fit


@pytest.mark.slow
def test_a_stopped_run_in_float64_ends_with_the_same_bits(
    workplace: Path, lit_cnn: Command, monkeypatch: pytest.MonkeyPatch
):
    fit = [*FIT, *LENET, *ONE, "--trainer.max_epochs", "1"]
    assert lit_cnn(*fit, "--runs_dir", "never_stopped/runs").returncode == 0
    monkeypatch.setenv("STOP_AT", IN_FIRST_EPOCH)
    assert lit_cnn(*fit).returncode == 143
    monkeypatch.delenv("STOP_AT")
    run = only_run(workplace)
    assert lit_cnn("resume", run.path).returncode == 0
    ours, theirs = weights(run), weights(only_run(workplace / "never_stopped"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "first", "second"), [(WITH_DROPOUT, ONE, TWO), (LENET, TWO, ONE)], ids=["1→2→1", "2→1→2"]
)
def test_to_another_number_of_processes_and_back(
    workplace: Path, never_stopped: Callable[[list[str]], Run], network: list[str], first: list[str], second: list[str]
):
    train(workplace, *FIT, *network, *first, stop_at=IN_FIRST_EPOCH)
    run = only_run(workplace)
    train(workplace, "resume", run.path, *second, stop_at=IN_SECOND_EPOCH)
    train(workplace, "resume", run.path, *first)
    same(run, never_stopped(network))


@pytest.mark.slow
def test_two_nodes_of_one_process(workplace: Path, never_stopped: Callable[[list[str]], Run]):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = Run(workplace / "of_two_nodes")
    launch = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1", "--master_addr", "127.0.0.1"]
    fit = [*FIT, *LENET, *ONE, "--trainer.num_nodes", "2"]
    nodes = [
        start(
            workplace,
            *[*launch, "--master_port", str(port), "--node_rank", str(rank), "-m", "lit_cnn", *fit],
            LIT_CNN_RUN_FOLDER=str(run.path),
        )
        for rank in range(2)
    ]
    for node in nodes:
        out, err = node.communicate(timeout=240)
        assert node.returncode == 0, out + err
    same(run, never_stopped(LENET))
