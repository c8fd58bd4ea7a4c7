"""A run's settings are pinned: what a resumed run may change, what its configuration says, who may train in its folder."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml
from conftest import Command

from lit_cnn.models import LitLeNet
from lit_cnn.runs.checkpoint_file import previous
from lit_cnn.runs.folder import Run
from lit_cnn.runs.lock import RunLock

SMALL = ["--model", "LitLeNet", "--data", "FakeImages", "--trainer.accelerator", "cpu", "--trainer.devices", "1"]
FIT = ["fit", *SMALL, "--trainer.max_epochs", "1", "--trainer.precision", "32-true"]
CONSTANT = ["--model.schedule", "constant"]


def newest(folder: Path) -> Run:
    (path,) = folder.glob("*/*/*")
    return Run(path)


def contents(run: Run) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.path.rglob("*") if path.is_file() and ".lock" not in path.name}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each run is trained once."""
    return tmp_path_factory.mktemp("trained")


def copy_of(lit_cnn: Command, trained: Path, folder: Path, *options: str) -> Run:
    kept = trained / ("_".join(options).replace("/", "_") or "plain")
    if not kept.exists():
        done = lit_cnn(*FIT, *options, "--runs_dir", kept)
        assert done.returncode == 0, done.stderr
    shutil.copytree(kept, folder / "runs")
    return newest(folder / "runs")


NEW_STOP = "trainer.callbacks of {run} is null and cannot become EarlyStopping:"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--model.lr", "0.001"], "model.lr of {run} is 0.01 and cannot become 0.001"),
        (["--model.weight_decay", "0.25"], "model.weight_decay of {run} is 0.0005 and cannot become 0.25"),
        (["--model.optimizer", "Adam"], "model.optimizer of {run} is SGD and cannot become Adam"),
        (["--model.optimizer_args", "{momentum: 0.5}"], "model.optimizer_args of {run} is null and cannot become {{'mom"),
        (["--model.schedule", "step"], "model.schedule of {run} is constant and cannot become step"),
        (["--model.activation", "relu"], "model.activation of {run} is tanh and cannot become relu"),
        (["--model.label_smoothing", "0.1"], "model.label_smoothing of {run} is 0.0 and cannot become 0.1"),
        (["--data.batch_size", "16"], "data.batch_size of {run} is 32 and cannot become 16"),
        (["--data.flip", "true"], "data.flip of {run} is null and cannot become True"),
        (["--seed_everything", "3"], "seed_everything of {run} is 0 and cannot become 3"),
        (["--trainer.precision", "bf16-mixed"], "trainer.precision of {run} is 32-true and cannot become bf16-mixed"),
        (["--trainer.gradient_clip_val", "1"], "trainer.gradient_clip_val of {run} is null and cannot become 1"),
        (["--trainer.accumulate_grad_batches", "2"], "trainer.accumulate_grad_batches of {run} is 1 and cannot become 2"),
        (["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor", "val/loss"], NEW_STOP),
        (["--trainer.callbacks+=LearningRateFinder"], NEW_STOP.replace("EarlyStopping", "LearningRateFinder")),
        (["--trainer.enable_checkpointing", "false"], "trainer.enable_checkpointing of {run} is null and cannot become F"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_must_stay_is_refused_before_anything_is_written(
    lit_cnn: Command, trained: Path, tmp_path: Path, given: list[str], message: str
):
    run = copy_of(lit_cnn, trained, tmp_path, *CONSTANT)
    before = contents(run)
    done = lit_cnn("fit", "--run", run.path, "--trainer.max_epochs", "2", *given)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lit-cnn: error: {message.format(run=run.path)}")
    anew = f"from its weights: --config {run.config} --model.weights {run.path}"
    if "activation" in message:
        anew = f": --config {run.config}"  # its weights are of another network
    assert done.stderr.endswith(f"start a new run{anew if anew.startswith(':') else f' {anew}'}\n")
    assert len(done.stderr.splitlines()) == 1
    assert contents(run) == before


def test_what_means_the_same_is_no_change(lit_cnn: Command, trained: Path, tmp_path: Path):
    run = copy_of(lit_cnn, trained, tmp_path, *CONSTANT)
    same = ["--trainer.precision", "32", "--trainer.limit_val_batches", "1.0", "--trainer.val_check_interval", "1.0"]
    done = lit_cnn("fit", "--run", run.path, *same)
    assert done.returncode == 0, done.stderr
    assert "nothing left to train: max_epochs is 1" in done.stdout


def test_a_resumed_run_gets_no_shorter_and_is_no_dry_run(lit_cnn: Command, trained: Path, tmp_path: Path):
    run = copy_of(lit_cnn, trained, tmp_path, *CONSTANT)
    assert lit_cnn("resume", run.path, "--trainer.max_epochs", "3").returncode == 0
    before = contents(run)
    for option, told in (
        (["--trainer.max_epochs", "2"], "trainer.max_epochs cannot become 2: 3 are done already"),
        (["--trainer.fast_dev_run", "true"], "fast_dev_run trains a new network"),
    ):
        refused = lit_cnn("resume", run.path, *option)
        assert refused.returncode == 2
        assert told in refused.stderr
        assert "resume with" not in refused.stdout
    assert contents(run) == before


def test_weights_alone_are_not_resumed(lit_cnn: Command, trained: Path, tmp_path: Path):
    run = copy_of(lit_cnn, trained, tmp_path, *CONSTANT)
    shutil.copyfile(run.best, run.last)
    before = contents(run)
    for checkpoint, given in ((run.best, ["--ckpt_path", run.best]), (run.last, [])):
        done = lit_cnn("resume", run.path, *given)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert f"cannot be resumed from {checkpoint}: it holds only weights; resume from last.ckpt, or" in done.stderr
    assert contents(run) == before


SHORT = '{"milliseconds": 1}'


@pytest.mark.parametrize(
    ("limits", "given", "reason"),
    [
        (["--trainer.max_steps=1"], [], "max_steps is 1; raise --trainer.max_steps"),
        (
            [f"--trainer.max_time={SHORT}"],
            [],
            "the time of max_time, {'milliseconds': 1}, is used up; --trainer.max_time null",
        ),
        ([f"--trainer.max_time={SHORT}"], ["--trainer.max_time=null", "--trainer.max_epochs=1"], "max_epochs is 1; raise"),
        (["--trainer.callbacks=Timer", f"--trainer.callbacks.duration={SHORT}"], [], "a callback has ended the training"),
    ],
    ids=str,
)
@pytest.mark.slow
def test_the_limit_that_was_reached_is_named(
    lit_cnn: Command, tmp_path: Path, limits: list[str], given: list[str], reason: str
):
    done = lit_cnn(*FIT, *CONSTANT, "--runs_dir=runs", "--trainer.limit_train_batches=1", "--trainer.max_epochs=2", *limits)
    assert done.returncode == 0, done.stderr
    done = lit_cnn("resume", newest(tmp_path / "runs").path, *given)
    assert done.returncode == 0, done.stderr
    assert f"nothing left to train: {reason}" in done.stdout
    assert "need to be provided" not in done.stderr


@pytest.mark.parametrize("option", ["--ckpt_path", "--runs_dir"])
@pytest.mark.parametrize("null", ["null", "~"])
def test_no_value_is_no_run(lit_cnn: Command, trained: Path, tmp_path: Path, option: str, null: str):
    run = copy_of(lit_cnn, trained, tmp_path, *CONSTANT)
    before = contents(run)
    done = lit_cnn("resume", run.path, option, null)
    assert done.returncode == 2
    assert done.stderr == f"lit-cnn: error: {option} cannot be null: give a value, or leave it out\n"
    assert "--run cannot be null" in lit_cnn("resume", "null").stderr
    assert contents(run) == before


@pytest.mark.slow
def test_a_training_that_was_stopped_early_stays_so(lit_cnn: Command, tmp_path: Path):
    stop = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss", "--trainer.callbacks.patience=1"]
    done = lit_cnn(*FIT, *CONSTANT, "--trainer.max_epochs", "20", "--model.lr", "1e-9", "--runs_dir", "runs", *stop)
    assert done.returncode == 0, done.stderr
    run = newest(tmp_path / "runs")
    rows = run.metrics.read_text()
    assert 2 <= len(run.read_metrics()) < 20
    for _ in range(2):
        done = lit_cnn("resume", run.path)
        assert done.returncode == 0, done.stderr
        assert "nothing left to train: EarlyStopping has ended the training" in done.stdout
        assert run.metrics.read_text() == rows
    shown = lit_cnn("resume", run.path, "--trainer.callbacks.patience", "3").stderr
    assert "is EarlyStopping(patience=1) and cannot become EarlyStopping(patience=3)" in shown


def test_the_advice_of_the_refusal_works(lit_cnn: Command, trained: Path, tmp_path: Path):
    run = copy_of(lit_cnn, trained, tmp_path, *CONSTANT)
    advised = ["--config", run.config, "--model.weights", run.path]
    done = lit_cnn("fit", *advised, "--model.lr", "0.001", "--runs_dir", "anew")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(newest(tmp_path / "anew").config.read_text())["model"]["init_args"]["lr"] == 0.001


def test_what_may_change_is_entered_and_the_configuration_describes_the_whole_training(
    lit_cnn: Command, trained: Path, tmp_path: Path
):
    run = copy_of(lit_cnn, trained, tmp_path, *CONSTANT)
    own = yaml.safe_load(run.config.read_text())
    step = torch.load(run.last, weights_only=True)["global_step"]
    given = ["--trainer.callbacks+=LearningRateMonitor", "--data.num_workers", "1", "--save_every_steps", "5"]
    done = lit_cnn("resume", run.path, "--trainer.max_epochs", "2", "--trainer.precision", "auto", *given)
    assert done.returncode == 0, done.stderr
    own["trainer"]["max_epochs"] = 2
    assert yaml.safe_load(run.config.read_text()) == own
    changes = json.loads(run.environment.read_text())["changes"]
    assert {change["setting"] for change in changes} == {
        *("trainer.max_epochs", "trainer.callbacks", "data.num_workers", "save_every_steps")
    }
    assert {change["step"] for change in changes} == {step}
    assert next((c["from"], c["to"]) for c in changes if c["setting"] == "trainer.max_epochs") == (1, 2)
    again = lit_cnn("resume", run.path, "--trainer.max_epochs", "3")
    assert again.returncode == 0, again.stderr
    assert len(json.loads(run.environment.read_text())["changes"]) == 5


@pytest.mark.parametrize(
    "schedule", [["--model.schedule", "one_cycle"], ["--model.schedule", "step"], [*CONSTANT, "--model.warmup_ratio", "0.1"]]
)
def test_a_schedule_that_depends_on_the_length_keeps_it(
    lit_cnn: Command, trained: Path, tmp_path: Path, schedule: list[str]
):
    run = copy_of(lit_cnn, trained, tmp_path, *schedule)
    before = contents(run)
    for given in (["--trainer.max_epochs", "2"], ["--trainer.max_steps", "3"]):
        done = lit_cnn("fit", "--run", run.path, *given)
        assert done.returncode == 2
        assert "depends on the length of the training; start a new run from its weights: --config" in done.stderr
    assert contents(run) == before


def test_a_finished_run_of_the_default_schedule_stays_as_it_is(lit_cnn: Command, trained: Path, tmp_path: Path):
    run = copy_of(lit_cnn, trained, tmp_path)
    config, last = run.config.read_bytes(), run.last.read_bytes()
    done = lit_cnn("fit", "--run", run.path, "--trainer.max_epochs", "2")
    assert done.returncode == 0, done.stderr
    assert "warning: trainer.max_epochs of" in done.stderr
    assert "the schedule cosine depends on the length of the training; start a new run" in done.stderr
    assert "nothing left to train: the schedule cosine has ended" in done.stdout
    assert (run.config.read_bytes(), run.last.read_bytes()) == (config, last)


def test_an_unfinished_run_of_the_default_schedule_is_refused_another_length(
    lit_cnn: Command, trained: Path, tmp_path: Path
):
    run = copy_of(lit_cnn, trained, tmp_path, "--trainer.max_epochs", "2")
    previous(run.last).replace(run.last)
    before = contents(run)
    done = lit_cnn("fit", "--run", run.path, "--trainer.max_epochs", "3")
    assert done.returncode == 2
    assert "the schedule cosine depends on the length of the training" in done.stderr
    assert contents(run) == before
    resumed = lit_cnn("fit", "--run", run.path)
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 2/2" in resumed.stdout


def test_a_run_that_begins_anew_may_change(lit_cnn: Command, trained: Path, tmp_path: Path):
    run = copy_of(lit_cnn, trained, tmp_path, *CONSTANT)
    shutil.rmtree(run.checkpoints)
    run.metrics.unlink()
    done = lit_cnn("fit", "--run", run.path, "--model.lr", "0.5")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(run.config.read_text())["model"]["init_args"]["lr"] == 0.5


def test_a_second_training_of_a_run_is_refused(lit_cnn: Command, trained: Path, tmp_path: Path):
    run = copy_of(lit_cnn, trained, tmp_path, *CONSTANT)
    lock = RunLock(run.path)
    done = lit_cnn("fit", "--run", run.path, "--trainer.max_epochs", "2")
    assert done.returncode == 2
    assert f"{run.path} is being trained by process" in done.stderr
    assert lit_cnn("validate", "--run", run.path).returncode == 0  # readers need no lock
    lock.release()
    assert lit_cnn("fit", "--run", run.path, "--trainer.max_epochs", "2").returncode == 0


@pytest.mark.parametrize("finder", [pytest.param("BatchSizeFinder", marks=pytest.mark.slow), "LearningRateFinder"])
def test_the_configuration_holds_what_a_finder_found(lit_cnn: Command, tmp_path: Path, finder: str):
    steps = {"LearningRateFinder": ["--trainer.callbacks.num_training_steps", "20"]}.get(finder, [])
    callbacks = [f"--trainer.callbacks+={finder}", *steps, "--trainer.callbacks+=LearningRateMonitor"]
    done = lit_cnn(*FIT, "--data.batch_size", "8", "--data.num_images", "256", *callbacks)
    assert done.returncode == 0, done.stderr
    run = newest(tmp_path / "runs")
    settings, last = yaml.safe_load(run.config.read_text()), torch.load(run.last, weights_only=True)
    assert [one["class_path"].rpartition(".")[2] for one in settings["trainer"]["callbacks"]] == ["LearningRateMonitor"]
    lr, batch_size = settings["model"]["init_args"]["lr"], settings["data"]["init_args"]["batch_size"]
    assert (lr, batch_size) == (last["hyper_parameters"]["lr"], last["datamodule_hyper_parameters"]["batch_size"])
    assert (lr != 0.01, batch_size != 8) == (finder == "LearningRateFinder", finder == "BatchSizeFinder")
    assert last["lr_schedulers"][0]["base_lrs"] == [lr]
    again = lit_cnn("fit", "--config", run.config, "--runs_dir", "again")
    assert again.returncode == 0, again.stderr
    repeated = torch.load(newest(tmp_path / "again").last, weights_only=True)
    assert all(torch.equal(tensor, repeated["state_dict"][name]) for name, tensor in last["state_dict"].items())


def test_a_run_that_was_killed_at_its_first_checkpoint_begins_anew(lit_cnn: Command, trained: Path, tmp_path: Path):
    run = copy_of(lit_cnn, trained, tmp_path)
    before = [row["val/loss"] for row in run.read_metrics()]
    for path in (run.last, previous(run.last)):
        path.unlink(missing_ok=True)
    assert "has no checkpoint" in lit_cnn("resume", run.path).stderr  # a finished run whose checkpoint was removed
    run.results.unlink()
    done = lit_cnn("resume", run.path)
    assert done.returncode == 0, done.stderr
    assert "was stopped before its first checkpoint; it begins anew" in done.stderr
    assert [row["val/loss"] for row in run.read_metrics()] == before


def test_the_printed_command_lifts_the_limit_that_this_one_lifted(
    lit_cnn: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = copy_of(lit_cnn, trained, tmp_path, *CONSTANT, "--trainer.max_time=00:01:00:00")
    training_step = LitLeNet.training_step

    def stopped(self: LitLeNet, *arguments: object) -> torch.Tensor:
        signal.raise_signal(signal.SIGTERM)
        return training_step(self, *arguments)

    monkeypatch.setattr(LitLeNet, "training_step", stopped)
    done = lit_cnn("resume", run.path, "--trainer.max_time", "null", "--trainer.max_epochs", "2")
    assert done.stdout.splitlines()[-1].endswith(f"lit-cnn resume {run.path} --trainer.max_time null")


def test_nulls_are_kept(lit_cnn: Command, tmp_path: Path):
    nulls = ["--trainer.max_epochs", "null", "--trainer.max_steps", "9", "--trainer.check_val_every_n_epoch", "null"]
    done = lit_cnn(*FIT, *CONSTANT, *nulls, "--trainer.val_check_interval", "4")
    assert done.returncode == 0, done.stderr
    run = newest(tmp_path / "runs")
    again = lit_cnn("fit", "--config", run.config, "--runs_dir", "again")
    assert again.returncode == 0, again.stderr
    assert newest(tmp_path / "again").config.read_text() == run.config.read_text()
    assert lit_cnn("fit", "--run", run.path, "--trainer.max_steps", "12").returncode == 0


CALLBACKS = {
    "BatchSizeFinder": {},
    "DeviceStatsMonitor": {},
    "EMAWeightAveraging": {"decay": 0.9},
    "EarlyStopping": {"monitor": "val/loss"},
    "GradientAccumulationScheduler": {"scheduling": {0: 5, 2: 1}},
    "LearningRateFinder": {},
    "LearningRateMonitor": {},
    "ModelCheckpoint": {"train_time_interval": "00:00:01:00"},
    "ModelSummary": {},
    "RichModelSummary": {},
    "RichProgressBar": {},
    "TQDMProgressBar": {},
    "Timer": {"duration": "00:01:00:00"},
}


def test_the_settings_of_every_callback_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from lit_cnn.commands import configuration
    from lit_cnn.commands.arguments import prepare
    from lit_cnn.commands.cli import CLI

    monkeypatch.setattr(CLI, "instantiate_classes", lambda _: None)
    callbacks = [{"class_path": name, "init_args": arguments} for name, arguments in CALLBACKS.items()]
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"trainer": {"callbacks": callbacks}}))
    cli = CLI("fit", prepare("fit", *SMALL, "--config", str(path))[1:])
    settings = configuration.describe(cli.config)
    text = configuration.write(cli.parser, settings)
    assert configuration.parse(cli.parser, text) == settings
    timer = next(one for one in settings["trainer"]["callbacks"] if one["class_path"].endswith("Timer"))
    assert timer["init_args"] == {"duration": "00:01:00:00", "interval": "step", "verbose": True}


def test_settings_that_do_not_come_back_are_refused(monkeypatch: pytest.MonkeyPatch, lit_cnn: Command, tmp_path: Path):
    from lit_cnn.commands import configuration

    parse = configuration.parse
    monkeypatch.setattr(configuration, "parse", lambda parser, text: parse(parser, text.replace("lr: 0.01", "lr: 0.1")))
    done = lit_cnn(*FIT)
    assert done.returncode == 2
    assert "model.init_args.lr cannot be saved in config.yaml, so that it could be read again" in done.stderr
    assert not (tmp_path / "runs").exists()


# What belongs to the command line


@pytest.mark.parametrize("way", ["file", "text", "nested"])
@pytest.mark.parametrize("key", ["run", "ckpt_path"])
def test_a_configuration_names_no_run_and_no_checkpoint(lit_cnn: Command, tmp_path: Path, key: str, way: str):
    (tmp_path / "c.yaml").write_text(f"{key}: somewhere\n")
    (tmp_path / "nested.yaml").write_text("config: c.yaml\n")
    value = {"file": "c.yaml", "text": f"{{{key}: somewhere}}", "nested": "nested.yaml"}[way]
    done = lit_cnn(*FIT, "--config", value)
    assert done.returncode == 2
    assert f"{key}: somewhere stands in a configuration, but belongs to the command line: --{key}" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_name_in_a_configuration_is_that_of_a_new_run(lit_cnn: Command, trained: Path, tmp_path: Path):
    run = copy_of(lit_cnn, trained, tmp_path, *CONSTANT)
    (tmp_path / "c.yaml").write_text("name: other\n")
    done = lit_cnn("fit", "--run", run.path, "--config", "c.yaml")
    assert done.returncode == 2
    assert "name: other is the name of a new run" in done.stderr


def test_the_latest_run_is_looked_for_where_the_configuration_says(lit_cnn: Command, trained: Path, tmp_path: Path):
    run = copy_of(lit_cnn, trained, tmp_path, *CONSTANT)
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    (tmp_path / "c.yaml").write_text("runs_dir: elsewhere\n")
    done = lit_cnn("validate", "--run", "latest", "--config", "c.yaml")
    assert done.returncode == 0, done.stderr
    assert str(run.path.relative_to(tmp_path / "runs")) in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "m.yaml"],
        ["--model", "{class_path: mine.Net, init_args: {num_classes: 7}}"],
        ["--model", "LitLeNet", "--model.init_args", "{num_classes: 7}"],
        ["--model", "LitLeNet", "--model.dict_kwargs", "{num_classes: 7}"],
        ["--model", "LitLeNet", "--config", "{model.init_args.num_classes: 7}"],
        ["--model", "LitLeNet", "--config", "{model: {dict_kwargs: {num_classes: 7}}}"],
        ["--config", "c.yaml"],
        ["--config", "nested.yaml"],
    ],
    ids=" ".join,
)
def test_what_follows_from_the_data_cannot_be_set_anywhere(lit_cnn: Command, tmp_path: Path, words: list[str]):
    (tmp_path / "m.yaml").write_text("{class_path: mine.Net, init_args: {num_classes: 7}}")
    (tmp_path / "c.yaml").write_text("model: m.yaml\n")
    (tmp_path / "nested.yaml").write_text("config: c.yaml\n")
    done = lit_cnn("fit", *words, "--data", "FakeImages")
    assert done.returncode == 2
    assert "num_classes of the model follows from the data and cannot be set" in done.stderr
