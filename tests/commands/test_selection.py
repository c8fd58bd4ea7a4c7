"""``--ema``, ``--monitor`` and ``--early_stopping``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from conftest import Command
from jsonargparse import Namespace

from lit_cnn.commands import selection
from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.selection import check_selection, resolve_monitor, warn_of_last_weights
from lit_cnn.runs.folder import Run

FIT = ["fit", "--model", "LitLeNet", "--model.schedule", "constant", "--data", "Digits", "--data.image_size", "28"]
FIT += ["--data.batch_size", "256", "--trainer.accelerator", "cpu", "--trainer.precision", "32-true"]


def trained(command: Command, *options: str) -> tuple[Run, str]:
    done = command(*FIT, *options)
    assert done.returncode == 0, done.stderr
    (path,) = Path.cwd().glob("runs/*/*/*")
    return Run(path), done.stdout


def settings(**changed: object) -> dict:
    trainer = {"precision": "auto", "callbacks": None, "limit_val_batches": None, "enable_checkpointing": None}
    own = {"ema": None, "monitor": "auto", "early_stopping": None, "save_every_minutes": 10.0, "save_every_steps": None}
    trainer |= {name: value for name, value in changed.items() if name in trainer}
    return own | {name: value for name, value in changed.items() if name in own} | {"trainer": trainer}


AVERAGE = [{"class_path": "pytorch_lightning.callbacks.EMAWeightAveraging"}]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ema": 1.0}, "the decay of averaged weights must be between 0 and 1, got 1; 0.999 is usual"),
        ({"ema": 0.9, "callbacks": AVERAGE}, "--ema and EMAWeightAveraging of trainer.callbacks both average the weights"),
        ({"ema": 0.9, "precision": "bf16-true"}, "too coarse to be averaged; use bf16-mixed"),
        ({"early_stopping": 0}, "early_stopping must be at least 1, got 0"),
        (
            {"early_stopping": 2, "monitor": "last"},
            "early_stopping needs a metric that can improve: give --monitor val/loss",
        ),
        ({"early_stopping": 2, "limit_val_batches": 0}, "early_stopping needs a validation, but trainer.limit_val_batches"),
        ({"monitor": "val/loss", "limit_val_batches": 0.0}, "monitor: val/loss needs a validation, but trainer.limit_val"),
        (
            {"monitor": "last", "enable_checkpointing": False},
            "judges checkpoints, but trainer.enable_checkpointing is false",
        ),
        (
            {"save_every_steps": 5, "enable_checkpointing": False},
            "save_every_steps saves checkpoints, but trainer.enable_checkpointing is false: leave one of them out",
        ),
        ({"save_every_minutes": 2.0, "enable_checkpointing": False}, "save_every_minutes saves checkpoints, but trainer."),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(changed: dict, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_selection(settings(**changed), resumes=False)


def test_what_can_be_is_taken():
    check_selection(settings(ema=0.999, monitor="val/f1", early_stopping=1), resumes=False)
    check_selection(settings(limit_val_batches=0), resumes=False)
    check_selection(settings(monitor="val/loss", limit_val_batches=0), resumes=True)
    check_selection(settings(save_every_minutes=2.0, save_every_steps=5), resumes=False)
    for minutes in (None, 10.0):
        check_selection(settings(save_every_minutes=minutes, enable_checkpointing=False), resumes=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "--model", "lenet", "--data", "digits", "--ema", "2"], "must be between 0 and 1, got 2"),
        (["fit", "--model", "lenet", "--data", "digits", "--monitor", "val/foo"], "val/acc"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_refusal_is_one_line(lit_cnn: Command, tmp_path: Path, words: list[str], message: str):
    done = lit_cnn(*words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line
    assert not (tmp_path / "runs").exists()


def test_a_training_with_all_of_them(lit_cnn: Command):
    run, printed = trained(
        lit_cnn, "--ema", "0.9", "--monitor", "val/loss", "--early_stopping", "3", "--trainer.max_epochs", "2"
    )
    assert "the average of the weights (decay 0.9) is validated and kept" in printed
    assert "best checkpoint: lowest validation loss" in printed
    assert "stops after 3 validations without a lower val/loss" in printed
    assert "(checkpoint with the lowest loss)" in printed
    assert {"ema": 0.9, "monitor": "val/loss", "early_stopping": 3}.items() <= yaml.safe_load(run.config.read_text()).items()
    last, best = (torch.load(path, weights_only=True) for path in (run.last, run.best))
    assert not torch.equal(*(last[key]["network.features.0.weight"] for key in ("state_dict", "current_model_state")))
    assert "current_model_state" not in best
    lowest = min(run.read_metrics(), key=lambda row: float(row["val/loss"]))
    assert run.read_results()["val/loss"] == pytest.approx(float(lowest["val/loss"]))
    assert "is 0.9 and cannot become 0.99" in lit_cnn("resume", run.path, "--ema", "0.99").stderr
    assert "ema is an option of lit-cnn fit: a run" in lit_cnn("test", "--run", run.path, "--ema", "0.9").stderr


@pytest.mark.slow
def test_a_training_ends_when_nothing_improves_and_stays_ended(lit_cnn: Command):
    stop = ["--model.lr", "1e-9", "--monitor", "val/loss", "--early_stopping", "1", "--trainer.max_epochs", "20"]
    run, _ = trained(lit_cnn, *stop)
    rows = run.metrics.read_text()
    assert 2 <= len(run.read_metrics()) < 20
    done = lit_cnn("resume", run.path)
    assert "nothing left to train: EarlyStopping has ended the training" in done.stdout
    assert run.metrics.read_text() == rows


@pytest.mark.slow
def test_a_training_that_ended_within_its_first_epoch_stays_ended(lit_cnn: Command):
    stop = ["--model.lr", "1e-9", "--early_stopping", "1", "--monitor", "val/loss", "--trainer.max_epochs", "2"]
    run, _ = trained(lit_cnn, *stop, "--data.batch_size", "32", "--trainer.val_check_interval", "2")
    step = torch.load(run.last, weights_only=True)["global_step"]
    assert step < 40
    done = lit_cnn("resume", run.path)
    assert "nothing left to train: EarlyStopping has ended the training" in done.stdout
    assert torch.load(run.last, weights_only=True)["global_step"] == step


@pytest.mark.slow
def test_an_older_run_keeps_its_judge_if_the_default_changes(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    run, _ = trained(lit_cnn, "--trainer.max_epochs", "1")
    config = yaml.safe_load(run.config.read_text())
    for name in ("ema", "monitor", "early_stopping"):
        del config[name]
    run.config.write_text(yaml.safe_dump(config, sort_keys=False))
    monkeypatch.setattr(selection, "choose_monitor", lambda *_, **__: "last")
    done = lit_cnn("resume", run.path, "--trainer.max_epochs", "2")
    assert done.returncode == 0, done.stderr
    assert "(checkpoint with the highest accuracy)" in done.stdout
    assert [row["epoch"] for row in run.read_metrics()] == ["0", "1"]
    assert "cannot become last" in lit_cnn("resume", run.path, "--monitor", "last", "--trainer.max_epochs", "3").stderr


def config_of(**given: object) -> Namespace:
    """What the parser makes of some options."""
    trainer = {
        "max_time": None,
        "max_steps": -1,
        "callbacks": None,
        "check_val_every_n_epoch": 1,
        "val_check_interval": None,
    }
    trainer |= {name: value for name, value in given.items() if name in trainer}
    return Namespace(
        monitor=given.get("monitor", "auto"),
        early_stopping=given.get("early_stopping"),
        model=Namespace(init_args=Namespace(schedule=given.get("schedule", "cosine"))),
        trainer=Namespace(**trainer),
    )


@pytest.mark.parametrize(
    ("given", "monitor"),
    [
        ({}, "last"),
        ({"schedule": "step"}, "last"),
        ({"schedule": "constant"}, "val/acc"),
        ({"schedule": None}, "val/acc"),
        ({"early_stopping": 3}, "val/acc"),
        ({"monitor": "val/f1"}, "val/f1"),
        ({"max_time": "00:01:00:00"}, "val/acc"),
        ({"max_steps": 100}, "val/acc"),
        ({"callbacks": [Namespace(class_path="pytorch_lightning.callbacks.EarlyStopping")]}, "val/acc"),
        ({"callbacks": [Namespace(class_path="pytorch_lightning.callbacks.Timer")]}, "val/acc"),
        ({"check_val_every_n_epoch": 4}, "val/acc"),
        ({"val_check_interval": 0.4}, "val/acc"),
    ],
    ids=str,
)
def test_the_last_checkpoint_is_the_best_if_the_training_ends_with_a_low_rate(given: dict, monitor: str):
    config = config_of(**given)
    resolve_monitor(config)
    assert config.monitor == monitor


@pytest.mark.parametrize(
    ("given", "warns"),
    [
        ({"monitor": "last", "schedule": "constant"}, True),
        ({"monitor": "last", "max_time": "00:01:00:00"}, True),
        ({"monitor": "last"}, False),
        ({"monitor": "val/acc", "schedule": "constant"}, False),
    ],
    ids=str,
)
def test_the_last_weights_of_a_run_may_not_be_those_of_another_schedule(
    capsys: pytest.CaptureFixture[str], given: dict, warns: bool
):
    warn_of_last_weights(config_of(**given), Arguments([]))
    advice = "--monitor val/acc keeps the checkpoint with the highest validation accuracy"
    assert (advice in capsys.readouterr().err) is warns


@pytest.mark.slow
def test_a_run_that_is_repeated_with_another_schedule_warns(lit_cnn: Command, tmp_path: Path):
    (tmp_path / "own.yaml").write_text("model: lenet\ndata: FakeImages\nmonitor: last\ntrainer.fast_dev_run: 1\n")
    constant = ["fit", "--config", "own.yaml", "--model.schedule", "constant"]
    assert "monitor: last stands in the configuration" in lit_cnn(*constant).stderr
    assert "monitor: last" not in lit_cnn(*constant, "--monitor", "last").stderr
