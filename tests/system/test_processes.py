"""How many devices the processes of a launcher need."""

from __future__ import annotations

from typing import Any

import pytest

from lit_cnn.system.processes import launched_devices, started_by_a_launcher

TORCHRUN = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3", "RANK": "0", "LOCAL_RANK": "0"}
SLURM = {"SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "train"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch):
    for name in (*TORCHRUN, *SLURM, "MASTER_ADDR", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)


def launch(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_without_a_launcher_nothing_is_changed(monkeypatch: pytest.MonkeyPatch):
    assert launched_devices("auto", 1) == {}
    with pytest.raises(ValueError, match="num_nodes=2 would wait for processes that nobody starts"):
        launched_devices("auto", 2)
    monkeypatch.setenv("MASTER_ADDR", "node1")  # somebody starts them by hand
    assert launched_devices("auto", 2) == {}


@pytest.mark.parametrize(("variables", "devices"), [(TORCHRUN, 3), (SLURM, 2)], ids=["torchrun", "slurm"])
@pytest.mark.parametrize("asked", ["auto", "-1", -1])
def test_auto_is_one_device_for_each_process(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], devices: int, asked: Any
):
    launch(monkeypatch, variables)
    assert launched_devices(asked, 1) == {"devices": devices, "num_nodes": 2}


@pytest.mark.parametrize("asked", [3, "3", [0, 1, 2], "[0, 1, 2]", "0,1,2"], ids=str)
def test_as_many_devices_as_processes_may_be_asked_for(monkeypatch: pytest.MonkeyPatch, asked: Any):
    launch(monkeypatch, TORCHRUN)
    assert launched_devices(asked, 2) == {}
    with pytest.raises(ValueError, match="torchrun has started 6 processes, but devices × num_nodes is 3"):
        launched_devices(asked, 1)


def test_a_batch_script_may_start_one_process_itself(monkeypatch: pytest.MonkeyPatch):
    launch(monkeypatch, SLURM)
    assert launched_devices(1, 1) == {}
    monkeypatch.setenv("SLURM_PROCID", "1")  # by srun
    with pytest.raises(ValueError, match="SLURM has started 4 processes, but devices × num_nodes is 1"):
        launched_devices(1, 1)


def test_an_interactive_job_starts_one_process(monkeypatch: pytest.MonkeyPatch):
    launch(monkeypatch, SLURM)
    assert started_by_a_launcher()
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")
    assert not started_by_a_launcher()


def test_nodes_with_unequal_shares_are_refused(monkeypatch: pytest.MonkeyPatch):
    launch(monkeypatch, SLURM | {"SLURM_NTASKS": "5"})
    with pytest.raises(ValueError, match="equally many processes on each node, got 5 on 2 nodes"):
        launched_devices("auto", 1)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (TORCHRUN | {"LOCAL_WORLD_SIZE": None}, "variable LOCAL_WORLD_SIZE is missing"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "0"}, "variable LOCAL_WORLD_SIZE must be a whole number of at least 1, got '0'"),
        (TORCHRUN | {"WORLD_SIZE": "six"}, "variable WORLD_SIZE must be a whole number of at least 1, got 'six'"),
        (TORCHRUN | {"LOCAL_RANK": None}, "variable LOCAL_RANK is missing"),
        (TORCHRUN | {"RANK": "6"}, "torchrun has started 6 processes, but calls this one number 6"),
        (SLURM | {"SLURM_NTASKS": "two"}, "variable SLURM_NTASKS must be a whole number of at least 0, got 'two'"),
        (SLURM | {"SLURM_NNODES": "-1"}, "variable SLURM_NNODES must be a whole number of at least 1, got '-1'"),
        (SLURM | {"SLURM_PROCID": "x"}, "variable SLURM_PROCID must be a whole number"),
    ],
    ids=str,
)
def test_a_variable_that_makes_no_sense_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str | None], message: str
):
    launch(monkeypatch, {name: value for name, value in variables.items() if value is not None})
    with pytest.raises(ValueError, match=message):
        launched_devices("auto", 1)
