"""Threads of a training: chosen by what other programs leave, printed, saved and kept."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from conftest import Command

from lit_cnn.commands.threads import use_threads
from lit_cnn.system.processors import OtherPrograms

FIT = ["fit", "--model", "LitLeNet", "--data", "FakeImages", "--data.num_images", "200", "--trainer.accelerator", "cpu"]
ONE_EPOCH = ["--trainer.max_epochs", "1"]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The number of threads is a setting of the process: other tests keep theirs."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def machine(monkeypatch: pytest.MonkeyPatch, usable: int, busy: float) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("lit_cnn.commands.threads.usable_processors", lambda: usable)
    monkeypatch.setattr(OtherPrograms, "busy_processors", lambda _: busy)


def recorded(folder: Path) -> tuple[int, int]:
    (run,) = folder.glob("runs/*/*/*")
    threads = json.loads((run / "environment.json").read_text())["threads"]
    return yaml.safe_load((run / "config.yaml").read_text())["threads"], threads


def test_busy_processors_are_left_out_and_a_resumed_run_keeps_its_threads(
    monkeypatch: pytest.MonkeyPatch, lit_cnn: Command, tmp_path: Path
):
    machine(monkeypatch, usable=2, busy=0.9)
    done = lit_cnn(*FIT, *ONE_EPOCH)
    assert done.returncode == 0, done.stderr
    assert "1 × cpu with 1 thread, 32-true" in done.stdout
    assert "other programs keep 0.9 of 2 processors busy: fit uses 1 of 2 threads; --threads 2 uses all" in done.stderr
    assert recorded(tmp_path) == (1, 1)

    machine(monkeypatch, usable=2, busy=0.0)
    done = lit_cnn("resume", "latest", "--trainer.max_epochs", "2", "--model.schedule", "constant")
    assert done.returncode == 2  # the schedule was another
    (run,) = tmp_path.glob("runs/*/*/*")
    done = lit_cnn("validate", "--run", run)
    assert done.returncode == 0, done.stderr
    assert torch.get_num_threads() == 1


def test_a_command_without_the_option_does_not_name_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    machine(monkeypatch, usable=2, busy=0.9)
    assert use_threads("auto", 1, "export", has_option=False) == 1
    assert capsys.readouterr().err.endswith(" busy: export uses 1 of 2 threads\n")


@pytest.mark.slow
def test_a_quiet_machine_is_used_as_a_whole(monkeypatch: pytest.MonkeyPatch, lit_cnn: Command, tmp_path: Path):
    machine(monkeypatch, usable=2, busy=0.3)
    done = lit_cnn(*FIT, *ONE_EPOCH)
    assert "1 × cpu with 2 threads, " in done.stdout
    assert "busy" not in done.stderr
    assert recorded(tmp_path) == (2, 2)


@pytest.mark.slow
def test_threads_can_be_given_and_changed_in_a_resumed_run(
    monkeypatch: pytest.MonkeyPatch, lit_cnn: Command, tmp_path: Path
):
    machine(monkeypatch, usable=2, busy=2.0)
    assert lit_cnn(*FIT, *ONE_EPOCH, "--threads", "2", "--model.schedule", "constant").returncode == 0
    assert recorded(tmp_path) == (2, 2)
    assert "with 2 threads" in lit_cnn("resume", "latest", "--trainer.max_epochs", "2").stdout
    assert "with 1 thread," in lit_cnn("resume", "latest", "--trainer.max_epochs", "3", "--threads", "1").stdout
    assert recorded(tmp_path) == (2, 1)


def test_more_threads_than_processors_are_too_many(monkeypatch: pytest.MonkeyPatch, lit_cnn: Command, tmp_path: Path):
    machine(monkeypatch, usable=2, busy=0.0)
    done = lit_cnn(*FIT, *ONE_EPOCH, "--threads", "1000000")
    assert done.returncode == 0
    assert "1,000,000 threads were asked for, but 2 can run at a time: fit uses 2" in done.stderr
    assert recorded(tmp_path) == (2, 2)


def test_the_variable_of_openmp_decides(monkeypatch: pytest.MonkeyPatch, lit_cnn: Command, tmp_path: Path):
    machine(monkeypatch, usable=2, busy=2.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)  # as torch does when it is imported
    assert lit_cnn(*FIT, *ONE_EPOCH).returncode == 0
    assert recorded(tmp_path) == (2, 2)


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "null", "true"])
def test_what_is_no_number_of_threads_is_refused(lit_cnn: Command, tmp_path: Path, value: str):
    done = lit_cnn(*FIT, "--threads", value)
    assert done.returncode == 2
    assert done.stderr.startswith("lit-cnn: error: threads: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_doctor_says_what_it_found(monkeypatch: pytest.MonkeyPatch, lit_cnn: Command):
    monkeypatch.setattr("lit_cnn.commands.examine.usable_processors", lambda: 2)
    monkeypatch.setattr(OtherPrograms, "busy_processors", lambda _: 1.1)
    done = lit_cnn("doctor", "--data", "digits", "--model", "lenet", "--json")
    (found,) = [finding for finding in json.loads(done.stdout) if finding["subject"] == "processors"]
    assert found["level"] == "warning"
    assert found["text"] == "other programs keep 1.1 of 2 processors busy: training uses 1 thread"
    assert found["details"] == {"processors": 2, "busy": 1.1, "threads": 1}
