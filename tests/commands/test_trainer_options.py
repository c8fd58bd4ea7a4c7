"""Every callback, logger, profiler, strategy, accelerator and plugin that there is trains, or is refused before training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import Command, run_process
from pytorch_lightning.accelerators import Accelerator, AcceleratorRegistry
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins import CheckpointIO, ClusterEnvironment, LayerSync, Precision
from pytorch_lightning.profilers import Profiler
from pytorch_lightning.strategies import Strategy, StrategyRegistry

from lit_cnn.commands import cli, fit  # noqa: F401 - all classes of this package are known
from lit_cnn.commands.monitors import check_monitors
from lit_cnn.commands.trainer_options import ACCELERATORS, PROFILERS, REFUSED, STRATEGIES, check_trainer
from lit_cnn.models import LitLeNet
from lit_cnn.runs.folder import Run

FIT = ["fit", "--model", "LitLeNet", "--model.schedule", "constant", "--model.lr", "0.1", "--data", "Digits"]
FIT += ["--data.image_size", "28", "--trainer.accelerator", "cpu", "--trainer.devices", "1"]
FIT += ["--trainer.limit_train_batches", "4", "--trainer.limit_val_batches", "1", "--trainer.limit_test_batches", "1"]

BASES = {
    "callbacks": (Callback,),
    "logger": (Logger,),
    "profiler": (Profiler,),
    "strategy": (Strategy,),
    "accelerator": (Accelerator,),
    "plugins": (Precision, ClusterEnvironment, CheckpointIO, LayerSync),
}
PACKAGES = ("accelerators", "callbacks", "loggers", "plugins", "profilers", "strategies")
# What trains, with the arguments that it needs.
WORKS: dict[str, dict[str, dict[str, Any]]] = {
    "callbacks": {
        "Bar": {},
        "BatchSizeFinder": {"max_trials": 2},
        "Dashboard": {"num_pictures": 2},
        "DeviceStatsMonitor": {},
        "EMAWeightAveraging": {"decay": 0.5, "update_starting_at_step": 2},
        "EarlyStopping": {"monitor": "val/loss"},
        "EpochLines": {},
        "GradientAccumulationScheduler": {"scheduling": {1: 2}},
        "LambdaCallback": {},
        "LearningRateFinder": {"num_training_steps": 5},
        "LearningRateMonitor": {},
        "ModelCheckpoint": {"monitor": "val/loss", "save_top_k": 2, "dirpath": "others"},
        "ModelSummary": {},
        "RichModelSummary": {},
        "RichProgressBar": {},
        "TQDMProgressBar": {},
        "Timer": {"duration": "00:01:00:00"},
        "WeightAveraging": {},
    },
    "logger": {"CSVLogger": {"save_dir": "logs"}, "DummyLogger": {}, "TensorBoardLogger": {"save_dir": "logs"}},
    "profiler": {"AdvancedProfiler": {}, "PassThroughProfiler": {}, "PyTorchProfiler": {}, "SimpleProfiler": {}},
    "strategy": {"DDPStrategy": {}, "SingleDeviceStrategy": {"device": "cpu"}},
    "accelerator": {"CPUAccelerator": {}},
    "plugins": {
        "DoublePrecision": {},
        "HalfPrecision": {"precision": "bf16-true"},
        "MixedPrecision": {"precision": "bf16-mixed", "device": "cpu"},
        "Precision": {},
    },
}
# What needs a package or a device that is not here.
NOT_HERE = {"CometLogger", "CUDAAccelerator", "LitLogger", "MLFlowLogger", "MPSAccelerator", "WandbLogger"}
LOGGING = {"Dashboard", "DeviceStatsMonitor", "LearningRateMonitor"}
PATHS = {
    "Bar": "lit_cnn.training.callbacks.progress.Bar",
    "Dashboard": "lit_cnn.training.callbacks.dashboard.Dashboard",
    "DummyLogger": "pytorch_lightning.loggers.logger.DummyLogger",
    "EpochLines": "lit_cnn.training.callbacks.progress.EpochLines",
}


LIGHTNING = "pytorch_lightning"


def averaging(**arguments: Any) -> dict[str, Any]:
    return {"callbacks": [{"class_path": f"{LIGHTNING}.callbacks.EMAWeightAveraging", "init_args": arguments}]}


@pytest.fixture(autouse=True)
def _leaves_no_group() -> Iterator[None]:
    """Ends the group of processes that DDP makes even of one process."""
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"):
            os.environ.pop(name, None)


def subclasses(base: type) -> Iterator[type]:
    yield base
    for cls in base.__subclasses__():
        yield from subclasses(cls)


def names(group: str) -> set[str]:
    """The classes of a group that a configuration may name."""
    packages = (
        "lit_cnn.",
        f"pytorch_lightning.{group.rstrip('s')}",
        "pytorch_lightning.strategies",
        "pytorch_lightning.plugins",
    )
    packages += ("lightning_fabric.plugins",)
    found = {cls for base in BASES[group] for cls in subclasses(base) if not cls.__name__.startswith("_")}
    return {
        cls.__name__
        for cls in found
        if cls.__module__.startswith(packages)
        and not any(part in cls.__module__ for part in ("test", "benchmark", "claims"))
    }


@pytest.mark.parametrize("group", BASES)
def test_every_class_is_known_to_train_or_refused(group: str):
    assert names(group) - NOT_HERE - REFUSED.keys() == WORKS[group].keys()


def test_what_is_refused_exists():
    every = set().union(*map(names, BASES))
    assert REFUSED.keys() - every == set()


def test_names_without_a_class_are_those_of_lightning():
    refused = ("ddp_", "deepspeed", "fsdp", "single_", "xla")
    assert [name for name in StrategyRegistry.available_strategies() if not name.startswith(refused)] == ["ddp"]
    assert {name for name in STRATEGIES if name != "auto"} < set(StrategyRegistry.available_strategies())
    assert set(AcceleratorRegistry.available_accelerators()) == {"cpu", "cuda", "mps", "tpu"}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused_says_why(name: str):
    group = next(group for group in BASES if name in names(group))
    with pytest.raises(ValueError, match=rf"trainer\.{group}: {name} cannot be used: ") as refusal:
        check_trainer({group: [{"class_path": f"pytorch_lightning.x.{name}"}]})
    assert "\n" not in str(refusal.value)
    check_trainer({group: {"class_path": f"mine.{name}"}})  # whoever wrote it knows


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "ddp_spawn"}, "trainer.strategy: ddp_spawn cannot be used; there are auto, ddp,"),
        ({"strategy": "fsdp_cpu_offload"}, "trainer.strategy: fsdp_cpu_offload cannot be used"),
        ({"profiler": "xla"}, "trainer.profiler: xla cannot be used; there are simple, advanced, pytorch"),
        ({"accelerator": "tpu"}, "trainer.accelerator: tpu cannot be used"),
        ({"check_val_every_n_epoch": 0}, "trainer.check_val_every_n_epoch must be at least 1, got 0"),
        ({"val_check_interval": 0}, "trainer.val_check_interval must be above 0"),
        ({"val_check_interval": "00:00:00:00"}, "trainer.val_check_interval must be above 0"),
        ({"val_check_interval": {"secs": 2}}, "trainer.val_check_interval: expected days, hours, minutes and seconds"),
        ({"barebones": True}, "trainer.barebones trains without checkpoints"),
        ({"model_registry": "a"}, "trainer.model_registry sends checkpoints to a server"),
        (
            {"strategy": {"class_path": "pytorch_lightning.strategies.DDPStrategy", "init_args": {"start_method": "fork"}}},
            "trainer.strategy: start_method must be popen, got fork",
        ),
        (
            {"strategy": {"class_path": f"{LIGHTNING}.strategies.DDPStrategy", "init_args": {"process_group_backend": "x"}}},
            "trainer.strategy: DDPStrategy.process_group_backend: x cannot be used",
        ),
        (averaging(device="nope"), "trainer.callbacks: EMAWeightAveraging.device: nope is no device"),
        (averaging(update_every_n_steps=0), "trainer.callbacks: EMAWeightAveraging.update_every_n_steps must be at least 1"),
        (
            {"callbacks": [*averaging()["callbacks"], {"class_path": f"{LIGHTNING}.callbacks.WeightAveraging"}]},
            "trainer.callbacks: EMAWeightAveraging and WeightAveraging both average the weights; give one of them",
        ),
        (
            {"callbacks": {"class_path": f"{LIGHTNING}.callbacks.Timer", "init_args": {"duration": "00:00:00:00"}}},
            "trainer.callbacks: Timer.duration is 0: nothing would be trained",
        ),
    ],
    ids=str,
)
def test_other_settings_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        check_trainer(settings)


def test_an_evaluation_takes_the_callbacks_of_its_run():
    check_trainer({"callbacks": [{"class_path": "pytorch_lightning.callbacks.ModelPruning"}]}, "test")


STOP = ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/acc"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trainer.callbacks", "StochasticWeightAveraging", "--trainer.callbacks.swa_lrs", "0.1"], "use EMAWeightAver"),
        (["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/foo"], "cannot watch val/foo, which"),
        (
            ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor=val/acc", "--trainer.limit_val_batches=0"],
            "can",
        ),
        (["--trainer.callbacks=EMAWeightAveraging", "--trainer.precision=64-true"], "rounds weights of precision 64-true"),
        (["--seed_everything", "true"], "seed_everything must be a whole number from 0 to 4294967295, got true"),
        (["--seed_everything", "-1"], "seed_everything must be a whole number from 0 to 4294967295, got -1"),
        (["--seed_everything", "4294967296"], "got 4294967296"),
        (["--trainer.num_nodes", "2"], "num_nodes=2 would wait for processes that nobody starts"),
        (["--model", "resnet18", "--data.batch_size", "1"], "set batch_size to at least 2"),
        (
            2 * ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=train/loss"],
            "trainer.callbacks: EarlyStopping stands there twice with the same settings; give one",
        ),
    ],
    ids=str,
)
def test_a_refusal_leaves_nothing(lit_cnn: Command, tmp_path: Path, words: list[str], message: str):
    done = lit_cnn(*FIT, *words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("lit-cnn: error: ")
    assert message in line
    assert not (tmp_path / "runs").exists()


# What trains


def settings_of(group: str, name: str) -> dict[str, Any]:
    one = {"class_path": PATHS.get(name, name), "init_args": WORKS[group][name]}
    settings: dict[str, Any] = {group: [one] if group == "callbacks" else one}
    if group != "logger" and name not in LOGGING:
        settings["logger"] = False  # to draw the dashboard takes longer than to train
    return {"trainer": settings | ({} if group == "plugins" else {"precision": "32-true"})}


def check_life(lit_cnn: Command, folder: Path, words: list[str]) -> tuple[Run, str]:
    """Trains two epochs at once and one by one, validates and tests; returns the second run and what it printed."""
    states, printed = [], ""
    for epochs in (2, 1):
        done = lit_cnn(*FIT, *words, "--trainer.max_epochs", str(epochs), "--name", f"of_{epochs}")
        assert done.returncode == 0, done.stderr
        printed = done.stdout
    runs = [Run(path) for path in sorted(folder.glob("runs/*/*/of_*"), reverse=True)]  # of_2, of_1
    done = lit_cnn("resume", runs[1].path, "--trainer.max_epochs", "2")
    assert done.returncode == 0, done.stderr
    for run in runs:
        content = torch.load(run.last, weights_only=True)
        assert content["epoch"] == 1
        states.append(content["state_dict"])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    for command in ("validate", "test"):
        done = lit_cnn(command, "--run", runs[1].path, "--trainer.limit_val_batches", "1")
        assert done.returncode == 0, done.stderr
    assert runs[1].config.read_text().count("class_path") == runs[0].config.read_text().count("class_path")
    return runs[1], printed


EVERY = [(group, name) for group, classes in WORKS.items() for name in classes]


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:The PyTorch Profiler default schedule will be overridden",
    "ignore:Profiler function <function profile> will be ignored",
)
@pytest.mark.parametrize(("group", "name"), EVERY)
def test_what_is_taken_trains_resumes_and_tests(lit_cnn: Command, tmp_path: Path, group: str, name: str):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings_of(group, name)))
    run, printed = check_life(lit_cnn, tmp_path, ["--config", "recipe.yaml"])
    if group == "profiler" and name != "PassThroughProfiler":
        (report,) = run.path.glob("fit-profile.txt")
        assert "Profile stats for: " in report.read_text() or "profiler report" in report.read_text().lower()
        assert f"report of the profiler: {report.relative_to(tmp_path)}" in printed


TRAINER = {
    "accelerator": ["auto"],
    "benchmark": ["true"],
    "check_val_every_n_epoch": ["2"],
    "detect_anomaly": ["true"],
    "deterministic": ["true", "warn"],
    "enable_autolog_hparams": ["false"],
    "enable_model_summary": ["true"],
    "enable_progress_bar": ["false"],
    "gradient_clip_algorithm": ["norm", "value"],
    "gradient_clip_val": ["0.5"],
    "inference_mode": ["false"],
    "limit_val_batches": ["0"],
    "log_every_n_steps": ["0", "1"],
    "logger": ["true", "false"],
    "max_time": ["00:01:00:00"],
    "min_epochs": ["1"],
    "num_sanity_val_steps": ["1"],
    "overfit_batches": ["2"],
    "precision": ["32-true", "bf16-mixed", "64-true", "bf16-true", "64", "32", "bf16"],
    "profiler": [*PROFILERS],
    "reload_dataloaders_every_n_epochs": ["1"],
    "strategy": ["ddp", "single_device"],
    "sync_batchnorm": ["true"],
    "val_check_interval": ["2", "0.5", "00:00:00:01"],
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Precision bf16-mixed is not supported by the model summary")
@pytest.mark.filterwarnings("ignore:`precision=bf16` is supported for historical reasons but its usage is discouraged")
@pytest.mark.filterwarnings("ignore:The PyTorch Profiler default schedule will be overridden")
@pytest.mark.filterwarnings("ignore:Profiler function <function profile> will be ignored")
@pytest.mark.filterwarnings("ignore:You have turned on `Trainer\\(detect_anomaly=True\\)`")
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in TRAINER.items() for value in values])
def test_other_options_train_resume_and_test(lit_cnn: Command, tmp_path: Path, name: str, value: str):
    logger = [] if name in ("logger", "log_every_n_steps") else ["--trainer.logger", "false"]
    check_life(lit_cnn, tmp_path, [*logger, f"--trainer.{name}", value])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "single_device"])
def test_two_processes_train_together(tmp_path: Path, strategy: str):
    done = run_process(tmp_path, *FIT, "--trainer.devices", "2", "--trainer.strategy", strategy, "--trainer.max_epochs", "1")
    assert done.returncode == 0, done.stderr
    assert "2 × cpu" in done.stdout


def test_accelerators_are_those_that_lightning_names():
    assert set(ACCELERATORS) - {"auto", "gpu"} <= set(AcceleratorRegistry.available_accelerators())


@pytest.mark.parametrize("option", ["--trainer.callbacks", pytest.param("--trainer.callbacks+", marks=pytest.mark.slow)])
def test_one_callback_may_be_named(lit_cnn: Command, tmp_path: Path, option: str):
    done = lit_cnn(*FIT, option, "Timer", "--trainer.max_epochs", "1", "--trainer.logger", "false")
    assert done.returncode == 0, done.stderr
    (run,) = map(Run, tmp_path.glob("runs/*/*/*"))
    assert run.config.read_text().count("callbacks.Timer") == 1
    done = lit_cnn("resume", run.path, "--trainer.max_epochs", "2", option, "Timer")
    if option.endswith("+"):
        assert done.returncode == 2
        assert "trainer.callbacks: Timer stands there twice with the same settings; give one" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_a_dry_run_looks_at_no_test_images(lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lit_cnn.data.digits.Digits.test_dataloader", lambda _: pytest.fail("the test images were read"))
    done = lit_cnn(*FIT, "--trainer.fast_dev_run", "true", "--test_after_fit", "--trainer.profiler", "simple")
    assert done.returncode == 0, done.stderr
    assert "fast_dev_run looks at no test images" in done.stdout
    assert "FIT Profiler Report" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_metric_that_is_watched_the_wrong_way(lit_cnn: Command):
    done = lit_cnn(
        *FIT, "--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor=val/acc", "--trainer.max_epochs=1"
    )
    assert done.returncode == 0
    assert "warning: EarlyStopping takes a lower val/acc for better: add mode=max" in done.stderr


def test_an_average_that_never_began(lit_cnn: Command):
    average = ["--trainer.callbacks=EMAWeightAveraging", "--trainer.callbacks.update_starting_at_step=1000"]
    done = lit_cnn(*FIT, *average, "--trainer.max_epochs=1", "--trainer.logger=false")
    assert done.returncode == 0, done.stderr
    assert "warning: EMAWeightAveraging: the average never began" in done.stderr


def test_an_early_stop_is_final(lit_cnn: Command, tmp_path: Path):
    stop = ["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=val/loss", "--trainer.callbacks.patience=1"]
    stop += ["--trainer.callbacks.min_delta=100"]
    done = lit_cnn(*FIT, *stop, "--trainer.max_epochs", "9", "--trainer.logger", "false")
    assert done.returncode == 0, done.stderr
    (run,) = map(Run, tmp_path.glob("runs/*/*/*"))
    before = run.last.read_bytes()
    for _ in range(2):
        done = lit_cnn("resume", run.path)
        assert "nothing left to train: EarlyStopping has ended the training" in done.stdout
        assert run.last.read_bytes() == before
        assert len(run.read_metrics()) == 2


@pytest.mark.parametrize("metric", ["train/loss_step", "train/lr", "train/gradient_norm", "train/loss", "val/loss"])
def test_what_a_training_logs_can_be_watched(metric: str):
    check_monitors([ModelCheckpoint(monitor=metric)], LitLeNet(), validates=True)
