"""``lit-cnn find-lr``, ``--lr auto`` and ``--time_limit``: a run with the number that was found has the same weights."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import Command

from lit_cnn.commands import trials
from lit_cnn.commands.arguments import prepare
from lit_cnn.commands.cli import CLI
from lit_cnn.commands.trial_options import read_time_limit
from lit_cnn.runs.folder import Run
from lit_cnn.training.callbacks.averaging import EMA
from lit_cnn.training.callbacks.checkpointing import Last
from lit_cnn.training.callbacks.speed_trial import SpeedTrial
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.range_test import RangeTest, suggest_rate

NETWORK = ["--model", "lenet", "--model.activation", "relu", "--model.pooling", "max"]
DATA = ["--data", "digits", "--data.image_size", "28", "--data.batch_size", "64", "--data.crop_padding", "1"]
OPTIONS = [*NETWORK, *DATA, "--trainer.precision", "32-true", "--trainer.accelerator", "cpu", "--threads", "1"]
SHORT = ["--trainer.limit_train_batches", "2"]


def settings_of(run: Run) -> dict:
    return yaml.safe_load(run.config.read_text(encoding="utf-8"))


def assert_same_training(one: Run, other: Run) -> None:
    """The settings are the same, and so are all weights to the last bit."""
    assert settings_of(one) == settings_of(other)
    first, second = (torch.load(run.last, weights_only=True) for run in (one, other))
    assert first["hyper_parameters"] == second["hyper_parameters"]
    assert first["state_dict"].keys() == second["state_dict"].keys()
    assert all(torch.equal(first["state_dict"][name], second["state_dict"][name]) for name in first["state_dict"])
    rates = [[float(row["lr"]) for row in run.read_metrics()] for run in (one, other)]
    assert rates[0] == rates[1]


def fit(command: Command, name: str, *options: str, short: Sequence[str] = SHORT) -> tuple[Run, str]:
    done = command("fit", *OPTIONS, *short, "--name", name, *options)
    assert done.returncode == 0, done.stderr
    return Run(Path("runs") / "digits" / "lenet" / name), done.stdout


def speed(epoch_seconds: float) -> SpeedTrial:
    """A trial whose epochs took so long, with a tenth for a validation."""
    trial = SpeedTrial(1.0)
    trial.num_epoch_batches = trial.batches = 2
    trial.seconds, trial._validations = 0.9 * epoch_seconds, [0.1 * epoch_seconds]
    return trial


def test_what_is_found_stands_in_the_configuration(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trials, "find_rate", lambda _: 0.031)
    monkeypatch.setattr(trials, "measure_speed", lambda *_: (speed(20.0), 1234.5))
    run, output = fit(lit_cnn, "found", "--lr", "auto", "--time_limit", "1m")
    assert "--lr auto: learning rate 0.031, by the range test of lit-cnn find-lr\n" in output
    assert "time limit 1m: 2 epochs at 1,234 images/s\n" in output
    settings = settings_of(run)
    assert settings["model"]["init_args"]["lr"] == 0.031
    assert settings["trainer"]["max_epochs"] == len(run.read_metrics()) == 2
    assert not {"lr", "time_limit", "tta"} & settings.keys()
    assert torch.load(run.last, weights_only=True)["hyper_parameters"]["lr"] == 0.031


def test_callbacks_that_a_trial_leaves_out_are_named(lit_cnn: Command):
    callback = ["--trainer.callbacks", "GradientAccumulationScheduler", "--trainer.callbacks.scheduling", "{0: 2}"]
    done = lit_cnn("find-lr", *OPTIONS, *callback, "--output", "curve.png")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "lit-cnn: warning: find-lr measures without your callbacks: GradientAccumulationScheduler\n"


@pytest.mark.slow
def test_the_rate_that_is_found_trains_as_the_rate_that_is_given(lit_cnn: Command, tmp_path: Path):
    done = lit_cnn("find-lr", *OPTIONS, "--output", "curve.png")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]
    rate = done.stdout.partition("(--model.lr ")[2].partition(")")[0]
    found, output = fit(lit_cnn, "found", "--lr", "auto", "--trainer.max_epochs", "1", short=[])
    assert f"--lr auto: learning rate {rate}" in output
    given, _ = fit(lit_cnn, "given", "--model.lr", rate, "--trainer.max_epochs", "1", short=[])
    assert_same_training(found, given)


@pytest.mark.slow
def test_a_training_in_a_time_limit_is_one_of_so_many_epochs(lit_cnn: Command):
    limited, _ = fit(lit_cnn, "limited", "--time_limit", "1s")
    epochs = settings_of(limited)["trainer"]["max_epochs"]
    given, _ = fit(lit_cnn, "given", "--trainer.max_epochs", str(epochs))
    assert_same_training(limited, given)


def test_a_trial_averages_the_weights_as_the_training_does(monkeypatch: pytest.MonkeyPatch):
    decays: list[float] = []
    monkeypatch.setattr(EMA, "on_train_batch_end", lambda self, *_: decays.append(self.decay))
    cli = CLI("fit", prepare("fit", *OPTIONS, *SHORT, "--ema", "0.9", "--early_stopping", "1", "--time_limit", "1s")[1:])
    trial, speed = trials.measure_speed(cli, 0.01)
    assert set(decays) == {0.9}
    assert len(decays) >= trial.batches > 0
    assert speed > 0


def test_the_checkpoints_of_a_long_epoch_take_time_too(monkeypatch: pytest.MonkeyPatch):
    save = Last.save

    def slowly(self: Last, *arguments: Any) -> None:
        time.sleep(0.2)
        save(self, *arguments)

    monkeypatch.setattr(Last, "save", slowly)
    for short, least in (([], 0.4), (SHORT, 0.0)):
        cli = CLI("fit", prepare("fit", *OPTIONS, *short, "--ema", "0.9", "--time_limit", "1s")[1:])
        trial, _ = trials.measure_speed(cli, 0.01)
        assert trial.has_whole_epoch == bool(short)
        assert (trial.saving_seconds >= least) if least else (trial.saving_seconds == 0)
        assert trial.epoch_seconds(0) == trial.training_seconds + trial.saving_seconds


@pytest.mark.parametrize("made", [True, False])
def test_a_trial_writes_where_the_run_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bool):
    runs, folders = tmp_path / "new" / "runs", []
    if made:
        runs.mkdir(parents=True)
    monkeypatch.setattr(Last, "on_fit_start", lambda self, *_: folders.append(Path(self.dirpath)))
    cli = CLI("fit", prepare("fit", *OPTIONS, *SHORT, "--runs_dir", str(runs), "--time_limit", "1s")[1:])
    trials.measure_speed(cli, 0.01)
    (folder,) = folders
    assert folder.is_relative_to(runs if made else tmp_path)
    assert not folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == (["new"] if made else [])


def test_a_trial_writes_where_the_environment_names_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("LIT_CNN_RUN_FOLDER", str(tmp_path / "scratch" / "job"))
    folders: list[Path] = []
    monkeypatch.setattr(Last, "on_fit_start", lambda self, *_: folders.append(Path(self.dirpath)))
    trials.measure_speed(CLI("fit", prepare("fit", *OPTIONS, *SHORT, "--time_limit", "1s")[1:]), 0.01)
    assert folders[0].is_relative_to(tmp_path / "scratch")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_trial(monkeypatch: pytest.MonkeyPatch, number: int):
    training_step = LitClassifier.training_step

    def interrupts(self: LitClassifier, *arguments: Any) -> torch.Tensor:
        os.kill(os.getpid(), number)
        return training_step(self, *arguments)

    monkeypatch.setattr(LitClassifier, "training_step", interrupts)
    with pytest.raises(SystemExit) as ended:
        trials.try_range(CLI("fit", prepare("fit", *OPTIONS)[1:]), "find-lr")
    assert ended.value.code == 128 + number


def test_a_range_test_leaves_frozen_what_is_trained_later():
    losses = []
    for later in ([], ["--model.unfreeze_at", "0.1"]):
        cli = CLI("fit", prepare("fit", *OPTIONS, "--model.freeze", "backbone", *later)[1:])
        losses.append(trials.try_range(cli, "find-lr", 1e-3, 1.0, num_steps=20).losses)
        assert cli.model.hparams["unfreeze_at"] == (0.1 if later else None)
    assert len(losses[0]) == 20
    assert losses[0] == losses[1]


def test_a_loss_that_overflows_ends_the_range_test(monkeypatch: pytest.MonkeyPatch):
    losses = iter(torch.linspace(3, 2, 41))
    overflowed = float("inf")
    training_step = LitClassifier.training_step

    def falls_and_overflows(self: LitClassifier, *arguments: Any) -> torch.Tensor:
        loss = training_step(self, *arguments)
        return loss - loss.detach() + next(losses, overflowed)

    monkeypatch.setattr(LitClassifier, "training_step", falls_and_overflows)
    found = trials.try_range(CLI("fit", prepare("fit", *OPTIONS)[1:]), "find-lr", 1e-3, 1e-2)
    assert len(found.losses) == 42
    assert suggest_rate(found.rates, found.losses) == float(f"{found.all_rates[40] / 10:.3g}")


def test_a_rate_that_is_not_found_is_said_so(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    found = RangeTest(1e-3, 10.0, 40)
    found.losses = torch.linspace(2, 3, 40).tolist()
    monkeypatch.setattr(trials, "try_range", lambda *_: found)
    done = lit_cnn("fit", *OPTIONS, "--lr", "auto")
    message = "--lr auto finds no rate: run lit-cnn find-lr over other rates, and give --model.lr"
    assert done.stderr.splitlines() == [f"lit-cnn: error: {message}"]


def test_losses_that_are_not_finite_are_not_the_lowest(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    found = RangeTest(1e-3, 10.0, 41)
    found.losses = [*torch.linspace(3, 2, 40).tolist(), float("nan")]
    monkeypatch.setattr(trials, "try_range", lambda *_: found)
    done = lit_cnn("find-lr", *OPTIONS)
    assert done.returncode == 0, done.stderr
    rate = found.all_rates[39]
    assert re.search(rf"lowest loss +2\.\d+ at {rate:.3g} ", done.stdout)
    assert f"(--model.lr {rate / 10:.3g})" in done.stdout


def test_a_limit_too_short_for_an_epoch_is_refused(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(trials, "measure_speed", lambda *_: (speed(100.0), 1.0))
    done = lit_cnn("fit", *OPTIONS, "--time_limit", "1m30s")
    assert done.returncode == 2
    message = "--time_limit 1m30s is too short: one epoch takes about 100.0 s; give at least 106s"
    assert done.stderr.splitlines() == [f"lit-cnn: error: {message}"]
    assert not list(tmp_path.iterdir())


def test_a_time_limit_is_hours_minutes_and_seconds():
    assert [read_time_limit(text) for text in ("90s", "20m", "1h30m", "2h", "1h0m5s")] == [90, 1200, 5400, 7200, 3605]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr", "0.1"], "--lr takes the word auto alone: a rate is --model.lr 0.1"),
        (["--lr", "auto", "--model.lr", "0.1"], "--lr auto finds the rate that --model.lr gives"),
        (["--lr", "auto", "--seeds", "2"], "--lr auto would find a rate for each seed"),
        (["--lr", "auto", "--run", "runs/a"], "--lr auto works only in a new training: leave it out"),
        (["--time_limit", "20"], "--time_limit must be a time such as 90s, 20m or 1h30m, got 20"),
        (["--time_limit", "null"], "--time_limit must be a time such as 90s, 20m or 1h30m, got null"),
        (["--time_limit", "30m1h"], "--time_limit must be a time such as 90s, 20m or 1h30m, got 30m1h"),
        (["--time_limit", "0s"], "--time_limit is 0: nothing would be trained"),
        (["--time_limit", "5m", "--seeds", "2"], "--time_limit would give each seed its own number of epochs"),
        (["--time_limit", "5m", "--run", "runs/a"], "--time_limit works only in a new training: leave it out"),
        (["--time_limit", "5m", "--trainer.max_epochs", "3"], "and --trainer.max_epochs a length too"),
        (["--time_limit", "5m", "--trainer.max_steps", "3"], "and --trainer.max_steps a length too"),
        (["--time_limit", "5m", "--trainer.max_time", "00:00:01:00"], "and --trainer.max_time a length too"),
    ],
)
def test_options_that_exclude_each_other_are_refused(words: list[str], message: str):
    with pytest.raises(ValueError, match=r"--") as refused:
        prepare("fit", *OPTIONS, *words)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("option", [["--lr", "auto"], ["--time_limit", "5m"]])
def test_an_evaluation_takes_neither(option: list[str]):
    with pytest.raises(ValueError, match="is an option of lit-cnn fit alone: leave it out"):
        prepare("test", "--run", "runs/a", *option)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--time_limit", "5s", "--trainer.fast_dev_run", "true"], "fast_dev_run trains a few batches, too few for"),
        (["--lr", "auto", "--trainer.devices", "2"], "--lr auto tries one process, and this training has 2"),
        (["--lr", "auto", "--trainer.callbacks", "LearningRateFinder"], "LearningRateFinder would change what --lr auto"),
        (["--config", "steps.yaml", "--time_limit", "5s"], "trainer.max_steps stands in the configuration"),
        (["--trainer.min_epochs", "9", "--time_limit", "5s"], "trainer.min_epochs stands in the configuration"),
        (
            ["--model.freeze", "backbone", "--model.unfreeze_at", "0.5", "--time_limit", "5s", "--lr", "auto"],
            "--time_limit measures the frozen network, and unfreeze_at makes later epochs slower: give --trainer.max_epochs",
        ),
        (["--diagnose", "--time_limit", "5s"], "--time_limit does not measure the steps that --diagnose adds"),
    ],
)
def test_trainings_that_cannot_be_tried_are_refused(lit_cnn: Command, tmp_path: Path, words: list[str], message: str):
    (tmp_path / "steps.yaml").write_text("trainer:\n  max_steps: 7\n", encoding="utf-8")
    done = lit_cnn("fit", *words, *OPTIONS)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["steps.yaml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num_steps", "3"], "--num_steps must be at least 20, got 3"),
        (["--min_lr", "1", "--max_lr", "0.1"], "--min_lr must be above 0 and below --max_lr, got 1 and 0.1"),
        (["--output", "curve.pdf"], "--output is a picture, whose name ends in .png, got curve.pdf"),
        (["--output", "missing/curve.png"], "there is no folder for the output missing/curve.png"),
        (["--ema", "0.9"], "find-lr trains a copy for 100 steps and makes no run: leave out --ema"),
        (["--seeds", "3"], "find-lr trains a copy for 100 steps and makes no run: leave out --seeds"),
        (["--model.lrr", "3"], "unknown option --model.lrr; did you mean --model.lr?"),
    ],
)
def test_what_a_range_test_cannot_do_is_refused(lit_cnn: Command, words: list[str], message: str):
    done = lit_cnn("find-lr", *OPTIONS, *words)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"lit-cnn: error: {message}"]
