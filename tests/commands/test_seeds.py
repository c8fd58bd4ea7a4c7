"""Training once for each seed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import Command, run_process, write_photos
from PIL import Image
from pytorch_lightning import Trainer

from lit_cnn.analysis.statistics import mean_interval
from lit_cnn.commands import evaluate
from lit_cnn.commands.arguments import prepare
from lit_cnn.commands.seed_options import read_seeds
from lit_cnn.data import digits
from lit_cnn.models import LitLeNet
from lit_cnn.runs.folder import Run
from lit_cnn.runs.lock import RunLock, is_locked
from lit_cnn.runs.search import find_run, list_runs
from lit_cnn.system.processors import OTHER_PROGRAMS
from lit_cnn.training.callbacks.record import Recorder

FIT = ["fit", "--model", "LitLeNet", "--data", "Digits", "--data.image_size", "28", "--data.batch_size", "256"]
FIT += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.precision", "32-true"]
ONE_EPOCH = [*FIT, "--trainer.max_epochs", "1"]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def assert_same(one: Path, other: Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


# Options


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("5", [0, 1, 2, 3, 4]), ("1", [0]), ("0,3,7", [0, 3, 7]), ("3, 0", [3, 0])],
)
def test_seeds_are_a_number_or_a_list(text: str, seeds: list[int]):
    assert read_seeds(text) == seeds


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds"], "--seeds : expected a number of seeds, such as 5, or a list"),
        (["--seeds", "five"], "--seeds five: expected a number of seeds"),
        (["--seeds=-1"], "--seeds -1: expected a number of seeds"),
        (["--seeds", "1.5"], "--seeds 1.5: expected a number of seeds"),
        (["--seeds", "1,,2"], "--seeds 1,,2: expected a number of seeds"),
        (["--seeds", "0"], "--seeds 0: expected 1 to 1000 seeds; one seed by its number is --seed_everything N"),
        (["--seeds", "4242"], "--seeds 4242: expected 1 to 1000 seeds"),
        (["--seeds", "3,1,3"], "--seeds 3,1,3: 3 stands there twice"),
        (["--seeds", "0,4294967296"], "a seed is a whole number from 0 to 4294967295"),
        (["--seeds", "2", "--seed_everything", "1"], "--seeds does not go with --seed_everything: it names the seeds"),
        (["--seeds", "2", "--run", "runs/a"], "--seeds does not go with --run: it trains new runs"),
        (["--seeds", "2", "--ckpt_path", "a.ckpt"], "--seeds does not go with --ckpt_path: it trains new runs"),
    ],
)
def test_what_names_no_seeds_is_refused(words: list[str], message: str):
    with pytest.raises(ValueError, match=r"^--seeds") as refused:
        prepare(*FIT, *words)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("command", [["validate"], ["test"], ["resume", "runs/a"]])
def test_other_commands_take_no_seeds(command: list[str]):
    with pytest.raises(ValueError, match=r"--seeds trains new runs: only fit|--seeds does not go with --run"):
        prepare(*command, "--seeds", "3")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("LIT_CNN_RUN_FOLDER", "makes a folder for each seed: unset LIT_CNN_RUN_FOLDER"),
        ("TORCHELASTIC_RUN_ID", "below torchrun or SLURM, give each job its --seed_everything"),
    ],
)
def test_launchers_and_a_given_folder_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, message: str):
    monkeypatch.setenv(name, "1")
    with pytest.raises(ValueError, match=message):
        prepare(*FIT, "--seeds", "3")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trainer.fast_dev_run", "true"], "fast_dev_run keeps no run, and --seeds compares runs"),
        (["--trainer.callbacks+=LearningRateFinder"], "LearningRateFinder would find another value for each seed"),
        (["--name", "a/b"], "the name of a run must be letters"),
        (
            ["--test_after_fit", "--trainer.limit_test_batches", "1"],
            "--seeds compares whole tests: leave out limit_test_batches=1, or test_after_fit",
        ),
    ],
)
def test_what_makes_no_study_is_one_line(lit_cnn: Command, tmp_path: Path, options: list[str], message: str):
    done = lit_cnn(*ONE_EPOCH, "--seeds", "2", *options)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lit-cnn: error: {message}")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


# Training


@pytest.mark.slow
def test_each_seed_trains_as_it_does_alone(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read, times = digits._read, []
    monkeypatch.setattr(digits, "_read", lambda: times.append(1) or read())
    study = [*ONE_EPOCH, "--seeds", "3,1", "--test_after_fit"]
    done = lit_cnn(*study)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(times) == 1
    runs = sorted(tmp_path.glob("runs/digits/lenet/seeds-*/seed-*"))
    assert [run.name for run in runs] == ["seed-1", "seed-3"]
    assert lit_cnn(*ONE_EPOCH, "--seed_everything", "1", "--name", "alone").returncode == 0
    assert_same(runs[0], tmp_path / "runs/digits/lenet/alone")
    # The same command finds what it has done.
    before = {path: path.stat().st_mtime_ns for path in runs[0].parent.rglob("*")}
    again = lit_cnn(*study)
    assert again.returncode == 0
    assert again.stdout.count("finished already") == 2
    assert {path: path.stat().st_mtime_ns for path in runs[0].parent.rglob("*")} == before
    table = done.stdout[done.stdout.index("seed  validation") :]
    assert again.stdout.endswith(table)
    accuracies = [Run(run).read_results()["test/acc"] for run in runs]
    interval = mean_interval(accuracies)
    mean = f"{np.mean(accuracies):.2%} ± {np.std(accuracies, ddof=1):.2%} (mean ± sd of 2 seeds"
    assert f"{mean}, 95 % interval {max(interval.low, 0):.2%} to {min(interval.high, 1):.2%})" in table
    # They are runs like others.
    assert [run.path.name for run in list_runs("runs")] == ["alone", "seed-1", "seed-3"]
    assert find_run(runs[1]).root == tmp_path / "runs"
    assert len(Run(runs[0]).ledger) == 1
    assert (tmp_path / "runs" / "ledger.jsonl").read_text().count("/seed-") == 2


def test_other_settings_have_another_folder_or_are_refused(lit_cnn: Command, tmp_path: Path):
    assert lit_cnn(*ONE_EPOCH, "--seeds", "1", "--name", "a").returncode == 0
    (run,) = tmp_path.glob("runs/digits/lenet/a/seed-*")
    one = Run(run).read_results()
    for option, message in (
        (["--model.lr", "0.3"], "model.lr of {run} is 0.01 and cannot become 0.3: choose another --name"),
        (["--trainer.max_epochs", "2"], "trainer.max_epochs of {run} is 1 and cannot become 2: choose another --name"),
        (
            ["--trainer.max_time", "00:01:00:00"],
            "trainer.max_time of {run} is null and cannot become 00:01:00:00: choose another --name",
        ),
    ):
        refused = lit_cnn(*ONE_EPOCH, "--seeds", "2", "--name", "a", *option)
        assert refused.returncode == 2
        assert refused.stderr == f"lit-cnn: error: {message.format(run=run.relative_to(tmp_path))}\n"
    # Of one seed, the images give the interval.
    done = lit_cnn(*ONE_EPOCH, "--seeds", "1", "--name", "a")
    assert f"{one['val/acc']:.2%} (one seed, 95 % interval over 144 images" in done.stdout


def test_a_run_is_no_folder_of_runs(lit_cnn: Command, tmp_path: Path):
    run = tmp_path / "runs/digits/lenet/a"
    run.mkdir(parents=True)
    for name in ("config.yaml", "environment.json"):
        (run / name).write_text("{}")
    done = lit_cnn(*ONE_EPOCH, "--seeds", "2", "--name", "a")
    assert done.returncode == 2
    assert done.stderr.endswith("lenet/a is a run, and no folder of several: choose another --name\n")


def stop(monkeypatch: pytest.MonkeyPatch, seed: str) -> None:
    """Makes a signal stop the training with a seed after its third step."""
    on_train_batch_end = Recorder.on_train_batch_end

    def end(self: Recorder, trainer: Trainer, *arguments: object) -> None:
        on_train_batch_end(self, trainer, *arguments)
        if os.environ["PL_GLOBAL_SEED"] == seed and trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Recorder, "on_train_batch_end", end)


@pytest.mark.slow
def test_further_seeds_have_the_precision_that_the_first_one_chose(lit_cnn: Command):
    """On another machine, another precision may be the quicker one."""
    study = [*ONE_EPOCH, "--trainer.precision", "auto", "--name", "study"]
    assert lit_cnn(*study, "--seeds", "1").returncode == 0
    (first,) = list_runs("runs")
    chosen = yaml.safe_load(first.config.read_text())["trainer"]["precision"]
    other = "bf16-mixed" if chosen == "32-true" else "32-true"
    first.config.write_text(first.config.read_text().replace(f"precision: {chosen}", f"precision: {other}"))
    done = lit_cnn(*study, "--seeds", "2")
    assert done.returncode == 0, done.stderr
    settings = [yaml.safe_load(run.config.read_text()) for run in list_runs("runs")]
    assert [one["trainer"]["precision"] for one in settings] == [other, other]


@pytest.mark.slow
def test_a_resumed_seed_is_tested_if_the_recipe_says_so(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "recipe.yaml").write_text("test_after_fit: true\n")
    study = [*ONE_EPOCH, "--config", "recipe.yaml", "--seeds", "1", "--name", "study"]
    with monkeypatch.context() as patched:
        stop(patched, "0")
        assert lit_cnn(*study).returncode == 128 + signal.SIGTERM
    done = lit_cnn(*study)
    assert done.returncode == 0, done.stderr
    (run,) = list_runs("runs")
    assert len(run.ledger) == 1


@pytest.mark.slow
def test_a_stopped_study_is_resumed_by_the_same_command(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    study = [*ONE_EPOCH, "--seeds", "2", "--name", "my study"]
    with monkeypatch.context() as patched:
        stop(patched, "1")
        done = lit_cnn(*study)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout.splitlines()[-1].startswith("stopped; resume with: lit-cnn fit --model LitLeNet")
    assert done.stdout.splitlines()[-1].endswith("--seeds 2 --name 'my study'")
    done = lit_cnn(*study, "--trainer.log_every_n_steps", "7")
    assert (done.returncode, done.stderr) == (0, "")
    assert "seed 0 (1 of 2): finished already, runs/digits/lenet/my study/seed-0" in done.stdout
    assert lit_cnn(*ONE_EPOCH, "--seed_everything", "1", "--name", "alone").returncode == 0
    assert_same(tmp_path / "runs/digits/lenet/my study/seed-1", tmp_path / "runs/digits/lenet/alone")
    # Later, a look at the test images is asked for.
    looks: list[list[str]] = []
    main = evaluate.main
    monkeypatch.setattr(evaluate, "main", lambda words: looks.append(words) or main(words))
    done = lit_cnn(*study, "--test_after_fit", "--threads", "1", "--save_every_steps", "5")
    assert done.returncode == 0, done.stderr
    assert ["--threads=1" in words for words in looks] == [True, True]
    assert "nothing left to train" not in done.stdout
    assert all(len(run.ledger) == 1 for run in list_runs("runs") if run.path.name.startswith("seed-"))


def diverges(monkeypatch: pytest.MonkeyPatch, seed: str, epoch: int = 0) -> None:
    """Makes trainings with a seed diverge in an epoch."""
    training_loss = LitLeNet.training_loss

    def diverge(self: LitLeNet, *arguments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, loss = training_loss(self, *arguments)
        is_meant = os.environ["PL_GLOBAL_SEED"] == seed and self.current_epoch == epoch
        return logits, loss * (float("nan") if is_meant else 1)

    monkeypatch.setattr(LitLeNet, "training_loss", diverge)


def test_a_diverged_seed_stays_and_is_named_each_time(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    diverges(monkeypatch, "0")
    done = lit_cnn(*ONE_EPOCH, "--seeds", "2", "--name", "a")
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first.startswith("lit-cnn: warning: seed 0: the training loss is nan in epoch 0, batch 0")
    assert last == "lit-cnn: warning: 1 of 2 seeds diverged: 0"
    study = tmp_path / "runs/digits/lenet/a"
    assert sorted(run.path.name for run in list_runs("runs")) == ["seed-0", "seed-1"]
    run = Run(study / "seed-0")
    assert first.endswith(run.diverged)
    assert json.loads((study / "study.json").read_text()) == {"seeds": [0, 1]}
    table = done.stdout[done.stdout.index("seed  validation") :]
    assert re.search(r"^ +0 +diverged$", table, re.MULTILINE)
    assert re.search(
        r"^validation accuracy .*\(one seed, 95 % interval over 144 images .*\); of 2 seeds, 1 diverged$", table, re.M
    )
    # The same command does not train it again.
    again = lit_cnn(*ONE_EPOCH, "--seeds", "2", "--name", "a")
    assert again.returncode == 1
    assert again.stdout.endswith(table)
    assert "seed 0 (1 of 2): diverged earlier, runs/digits/lenet/a/seed-0" in again.stdout
    assert f"{run.diverged}; to train it again, remove runs/digits/lenet/a/seed-0" in again.stderr
    # Other commands name it too.
    assert "0 (diverged)" in lit_cnn("runs").stdout
    shutil.rmtree(study / "seed-1")
    alone = lit_cnn(*ONE_EPOCH, "--seeds", "1", "--name", "a")
    assert alone.returncode == 1
    assert re.search(r"^ +0 +diverged$", alone.stdout, re.MULTILINE)
    assert json.loads((study / "study.json").read_text()) == {"seeds": [0, 1]}


def test_a_run_that_diverges_keeps_the_reason_until_it_is_trained_further(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        diverges(patched, "0", epoch=1)
        done = lit_cnn(*FIT, "--trainer.max_epochs", "2", "--name", "a")
        assert done.returncode == 1
        assert "resume with" not in done.stdout
    run = find_run("latest")
    reason = run.diverged
    assert reason.startswith("the training loss is nan in epoch 1, batch 0")
    assert "1 (diverged)" in lit_cnn("runs").stdout
    resumed = lit_cnn("resume", "latest")
    assert resumed.returncode == 0
    told = f"the training of {run.path} diverged earlier, and may diverge again: {reason}"
    assert resumed.stderr == f"lit-cnn: warning: {told}\n"
    assert run.diverged is None
    assert "val/loss" in run.read_results()


def test_a_run_that_diverges_before_an_epoch_leaves_nothing(
    lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    diverges(monkeypatch, "0")
    assert lit_cnn(*ONE_EPOCH, "--name", "a").returncode == 1
    assert not (tmp_path / "runs").exists()


def test_a_study_that_never_began_leaves_nothing(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "on_train_batch_end", stop)
    done = lit_cnn(*ONE_EPOCH, "--seeds", "2")
    assert done.returncode != 0
    assert "stopped; resume with: lit-cnn fit" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_all_seeds_start_from_the_run_that_was_the_latest(lit_cnn: Command, tmp_path: Path):
    runs = tmp_path / "elsewhere"
    assert lit_cnn(*ONE_EPOCH, "--runs_dir", runs, "--name", "first").returncode == 0
    words = ["--runs_dir", runs, "--seeds", "2", "--name", "study", "--data.split_seed", "0"]
    done = lit_cnn(*ONE_EPOCH, *words, "--model.weights", "latest")
    assert done.returncode == 0, done.stderr
    study = runs / "digits" / "lenet" / "study"
    configurations = [yaml.safe_load((study / f"seed-{seed}" / "config.yaml").read_text()) for seed in (0, 1)]
    started_from = [config["model"]["init_args"]["weights"] for config in configurations]
    assert started_from == 2 * [str(runs / "digits" / "lenet" / "first")]


def test_a_seed_that_another_process_has_begun_is_left_to_it(lit_cnn: Command, tmp_path: Path):
    folder = tmp_path / "runs" / "digits" / "lenet" / "study" / "seed-0"
    folder.mkdir(parents=True)
    lock = RunLock(folder)
    done = lit_cnn(*ONE_EPOCH, "--seeds", "1", "--name", "study")
    assert done.returncode == 2
    assert "seed-0 is being trained by process" in done.stderr
    assert is_locked(folder)
    lock.release()


@pytest.mark.slow
def test_all_seeds_have_the_threads_of_the_first(lit_cnn: Command, monkeypatch: pytest.MonkeyPatch):
    busy, threads = iter([1.1, 0.0, 0.0]), torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(OTHER_PROGRAMS, "busy_processors", lambda: next(busy))
    for module in ("lit_cnn.commands.threads", "lit_cnn.system.processors"):
        monkeypatch.setattr(f"{module}.usable_processors", lambda: 2)
    try:
        done = lit_cnn(*ONE_EPOCH, "--seeds", "2", "--name", "a")
        assert done.returncode == 0
        assert done.stderr.count("other programs keep 1.1 of 2 processors busy: fit uses 1 of 2 threads") == 1
        assert len(done.stderr.splitlines()) == 1
        done = lit_cnn(*ONE_EPOCH, "--seeds", "3", "--name", "a")
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        torch.set_num_threads(threads)
    runs = list_runs("runs")
    assert [run.read_environment()["threads"] for run in runs] == [1, 1, 1]
    assert json.loads((runs[0].path.parent / "study.json").read_text()) == {"seeds": [0, 1, 2]}


@pytest.mark.parametrize("split", ["any", pytest.param("test", marks=pytest.mark.slow)])
def test_a_study_is_of_the_same_images(lit_cnn: Command, tmp_path: Path, split: str):
    folder = tmp_path / "photos"
    if split == "test":
        for name in ("train", "test"):
            write_photos(folder / name, ("ant", "bee"), 10)
    else:
        write_photos(folder, ("ant", "bee"), 20)
    fit = ["fit", "--model", "LitLeNet", "--data", "photos", "--data.image_size", "28", "--trainer.max_epochs", "1"]
    fit += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--name", "a"]
    fit += ["--data.cache_dir", "null", "--seeds"]
    assert lit_cnn(*fit, "1").returncode == 0
    for number in range(10):
        place = folder / "test" / "ant" if split == "test" else folder / "ant"
        Image.new("RGB", (40, 40), (255, number, 0)).save(place / f"new{number}.png")
    # Also if nothing is left to train.
    for seeds in ("1", "2"):
        done = lit_cnn(*fit, seeds)
        assert done.returncode == 2
        assert done.stderr == (
            "lit-cnn: error: the images are not those of runs/photos/lenet/a/seed-0: choose another --name for a new study\n"
        )
    assert [run.path.name for run in list_runs("runs")] == ["seed-0"]


@pytest.mark.slow
def test_the_processes_of_several_devices_are_started_for_each_seed(tmp_path: Path):
    two = [*ONE_EPOCH, "--trainer.devices", "2", "--test_after_fit"]
    done = run_process(tmp_path, *two, "--seeds", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "test accuracy" in done.stdout.splitlines()[-2]
    alone = run_process(tmp_path, *two, "--seed_everything", "1", "--name", "alone")
    assert alone.returncode == 0, alone.stderr
    (run,) = tmp_path.glob("runs/digits/lenet/seeds-*/seed-1")
    assert_same(run, tmp_path / "runs/digits/lenet/alone")
    assert sum(run.read_environment()["world_size"] == 2 for run in list_runs(tmp_path / "runs")) == 3
