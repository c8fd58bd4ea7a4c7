"""Whatever a user gives is accepted, or refused in one line that says what would do, with status 2."""

import subprocess
import warnings
from pathlib import Path

import pytest
import pytorch_lightning as pl
from conftest import Command, write_photos

from lit_cnn.commands.messages import explain, quiet, without_addresses
from lit_cnn.commands.options import options_by_class

SMALL = [
    *("--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.max_time", "00:00:00:05"),
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"),
    *("--trainer.logger", "false", "--trainer.enable_progress_bar", "false", "--model", "LitLeNet"),
]
DATA = {
    "FakeImages": ["--data", "FakeImages", "--data.num_images", "64", "--data.batch_size", "8"],
    "Digits": ["--data", "Digits", "--data.image_size", "28", "--data.batch_size", "8"],
    "ImageFolder": ["--data", "photos", "--data.image_size", "28", "--data.batch_size", "8"],
}
VALUES = ["0", "-1", "null", "", "[1,2]", "1e30"]
GROUPS = {"trainer": "AutoTrainer", "model": "LitLeNet", **{f"data of {name}": name for name in DATA}}
# Refusals that concern several settings, and name what is wrong in other words.
IN_OTHER_WORDS = (
    "Timer(duration=",
    "cannot take images of",
    "belong together",
    "in_channels must be",
)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of an error about what the user gave."""
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("lit-cnn: error: ")
    return line.removeprefix("lit-cnn: error: ")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("model.lr=null", "model.lr: expected float. Got value: null"),
        ("model.variant=null", "model.variant: expected one of lenet, lenet_bn. Got value: null"),
        ("data.batch_size=null", "data.batch_size: expected int. Got value: null"),
        ("data.num_workers=null", "data.num_workers: expected int. Got value: null"),
        ("data.num_images=-1", "num_images must be at least 1, got -1"),
        ("trainer.val_check_interval=0", "trainer.val_check_interval must be above 0"),
        ("trainer.val_check_interval=-0.5", "trainer.val_check_interval must be above 0, got -0.5"),
        ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches must be at least 1, got 0"),
        ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch must be at least 1, got 0"),
        ("seed_everything=-1", "seed_everything must be "),
        ("runs_dir=", "--runs_dir is empty: give a value, or leave it out"),
        (
            "trainer.max_time=1e30",
            "trainer.max_time must be days:hours:minutes:seconds with two digits each, such as 00:02:30:00",
        ),
        ("trainer.plugins=[1]", "trainer.plugins: expected the name of a class, or its class_path and init_args"),
        ("test_after_fit=true", "--test_after_fit takes no value"),
        ("save_every_steps=", "save_every_steps: expected int. Got value: nothing"),
        ("ckpt_path=", "--ckpt_path is empty: give a value, or leave it out"),
        ("ckpt_path=x", "a checkpoint must be a file, got x"),
        ("model=", "--model is empty: give a value, or leave it out"),
        ("trainer=3", "trainer: expected settings by name, or a file of them. Got value: 3"),
        ("config=[1]", "config: expected settings by name, or a file of them. Got value: [1]"),
        ("data.data_dir=", "data.data_dir is empty: give a value, or leave it out"),
        ("trainer.barebones=true", "trainer.barebones "),
        ("trainer.profiler=fast", "profiler"),
        ("trainer.devices=0", "devices='0'"),
        ("trainer.limit_val_batches=-1", "limit_val_batches"),
        ("trainer.logger=WandbLoger", "unknown trainer.logger WandbLoger; did you mean WandbLogger?"),
        ("trainer.callbacks=[3]", "trainer.callbacks: expected the name of a class, or its class_path and init_args"),
        ("trainer.callbacks={class_path: Timer, init_args: [3]}", "init_args of Timer must be settings by name, got [3]"),
        (
            "trainer.strategy.start_method=x",
            "trainer.strategy.start_method comes without a class: give --trainer.strategy NAME",
        ),
        ("trainer.logger.save_dir=x", "trainer.logger.save_dir comes without a class: give --trainer.logger NAME before it"),
        ("trainer.callbacks.patience=3", "trainer.callbacks.patience comes without a class: give --trainer.callbacks NAME"),
        ("model=LitClassifier", "--model LitClassifier is no network: name one, such as resnet18"),
        ('model={"class_path": null}', "model: expected the name of a class, or its class_path and init_args. Got value: {"),
        ("trainer.callbacks=", "--trainer.callbacks is empty: give a value, or leave it out"),
        ("trainer.callbacks=EarlyStopping", "EarlyStopping needs monitor, which has no default: add it behind"),
        ("trainer.logger=CSVLogger", "CSVLogger needs save_dir, which has no default"),
        ("trainer.callbacks=StochasticWeightAverage", "; StochasticWeightAveraging cannot be used: checkpoints are saved"),
        ("trainer.callbacks=StochasticWeightAveraging", "trainer.callbacks: StochasticWeightAveraging cannot be used: "),
        ("trainer.callbacks=5", "unknown trainer.callbacks 5; there are BatchSizeFinder, DeviceStatsMonitor, EMAWeight"),
        ("trainer.accelerator=Accelerator", "it is a base class and does nothing by itself; use cpu, gpu, cuda or mps"),
        ("trainer.precision=half", "trainer.precision: expected one of auto, 32-true, bf16-mixed, 16-mixed, 64-true"),
        ("trainer.max_steps=0", "trainer.max_steps is 0: nothing would be trained"),
        ("data.data_dir=file:///photos", "data.data_dir: file:///photos is an address; use a local path"),
        ("data.class_path=Nothing", "unknown data Nothing; there are CIFAR10"),
    ],
)
def test_a_setting_that_cannot_be_is_named(lit_cnn: Command, tmp_path: Path, setting: str, expected: str):
    assert expected in refused(lit_cnn("fit", *SMALL, *DATA["FakeImages"], f"--{setting}"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", GROUPS)
def test_every_setting_is_accepted_or_refused_in_one_line(lit_cnn: Command, tmp_path: Path, group: str):
    data = GROUPS[group] if group.startswith("data") else "FakeImages"
    write_photos(tmp_path / "photos", ("ant", "bee"), 20)
    tested_already = options_by_class()["FakeImages"] if group.startswith("data") and data != "FakeImages" else set()
    for argument in sorted(options_by_class()[GROUPS[group]] - tested_already):
        for value in VALUES:
            setting = f"{group.partition(' ')[0]}.{argument}={value}"
            done = lit_cnn("fit", *SMALL, *DATA[data], f"--{setting}")
            assert done.returncode in (0, 1, 2), f"{setting}: {done.returncode}, {done.stderr}"
            assert "object at 0x" not in done.stdout + done.stderr, setting
            if done.returncode == 1:
                assert "loss is nan" in done.stderr, f"{setting}: {done.stderr}"
            elif done.returncode == 2:
                line = refused(done)
                assert argument in line or any(words in line for words in IN_OTHER_WORDS), f"{setting}: {line}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "model:\n  class_path: LitLeNet\n  init_args: own.yaml\n",
            "init_args of LitLeNet must be settings by name, got own",
        ),
        (
            "model: {class_path: lenet, lr: 0.1}\n",
            "lr stands beside class_path: arguments of a class belong below init_args",
        ),
        ("model: {init_args: {lr: 0.1}}\n", "model"),
        ("model: {class_path: lit_cnn.models.LitLenet}\n", "unknown model lit_cnn.models.LitLenet; did you mean LitLeNet?"),
        ("model: {class_path: null}\n", "model: expected the name of a class, or its class_path and init_args"),
        ("model: lenet\nmodle: vgg11\n", "unknown option modle; did you mean model?"),
        ("model: lenet\ntrainers: {max_epochs: 5}\n", "unknown option trainers; did you mean trainer?"),
        ("model: lenet\ntrainer: {max_epoch: 5}\n", "unknown option trainer.max_epoch; did you mean max_epochs?"),
        ("model: lenet\ntrainer: {lr: 5}\n", "unknown option trainer.lr; lit-cnn fit --help lists the options"),
        ("model: {class_path: lenet, init_args: {lrr: 1}}\n", "unknown option lrr; did you mean lr?"),
        ("model: {class_path: lenet, init_args: {val_fraction: 1}}\n", "unknown option val_fraction; lit-cnn fit --help"),
        ("model: [lenet]\n", "model: expected the name of a class, or its class_path and init_args"),
        ("model: lenet\ndata.init_args.num_classes: null\n", "num_classes: expected int. Got value: null"),
        ("model: lenet\ntrainer: 3\n", "trainer: "),
        ("model.num_classes: 3\n", "num_classes of the model follows from the data and cannot be set"),
        (
            "trainer:\n  max_epochs: 3\ntrainer:\n  accelerator: cpu\n",
            "recipe.yaml: trainer stands there twice (lines 2 and 4)",
        ),
        ("model:\n  class_path: lenet\n  init_args: {lr: 1, lr: 2}\n", "recipe.yaml: lr stands there twice (lines 4 and 4)"),
        ("trainer: cpu\ntrainer.max_epochs: 3\n", "trainer.max_epochs stands beside trainer, which must then be settings"),
        ("config: {seed: 1}\n", "recipe.yaml: config must be the path of one file of settings, got {'seed': 1}"),
        ("config: [a.yaml, b.yaml]\n", "recipe.yaml: config must be the path of one file of settings, got ['a.yaml', "),
        (
            "model: lenet\ndata.augment: flip\ndata.augment.cutout: 8\n",
            "recipe.yaml: data.augment.cutout stands beside augment, which must then be settings by name, got flip",
        ),
    ],
)
def test_a_mistake_in_a_file_is_named(lit_cnn: Command, tmp_path: Path, content: str, expected: str):
    (tmp_path / "recipe.yaml").write_text(f"data: FakeImages\n{content}", encoding="utf-8")
    assert expected in refused(lit_cnn("fit", "--config", "recipe.yaml"))


@pytest.mark.parametrize("way", ["option", "configuration"])
@pytest.mark.parametrize("group", ["model", "data"])
def test_a_name_that_stands_twice_in_a_file_of_one_group_is_refused(lit_cnn: Command, tmp_path: Path, group: str, way: str):
    settings = {"model": "lenet", "data": "FakeImages"}
    content = f"class_path: {settings[group]}\ninit_args: {{}}\ninit_args: {{}}\n"
    (tmp_path / "own.yaml").write_text(content, encoding="utf-8")
    settings[group] = "own.yaml"
    (tmp_path / "recipe.yaml").write_text(
        "".join(f"{name}: {value}\n" for name, value in settings.items()), encoding="utf-8"
    )
    options = [f"--{name}={value}" for name, value in settings.items()]
    done = lit_cnn("fit", *(options if way == "option" else ["--config", "recipe.yaml"]), "--print_config")
    assert "init_args stands there twice (lines 2 and 3)" in refused(done)


@pytest.mark.parametrize(
    "content",
    [
        "model:\n  class_path: LitLeNet\n  init_args:\ndata: {class_path: FakeImages, init_args: {num_images: 64}}\n",
        "model: lenet\nmodel.lr: 0.5\ndata: FakeImages\ndata.init_args.num_images: 64\ndata.batch_size: 16\n",
        "model: lenet\ndata.class_path: FakeImages\ndata.init_args: {num_images: 64}\ntrainer:\n",
    ],
)
def test_settings_may_be_empty_or_have_names_with_dots(lit_cnn: Command, tmp_path: Path, content: str):
    (tmp_path / "recipe.yaml").write_text(content, encoding="utf-8")
    done = lit_cnn("fit", "--config", "recipe.yaml", "--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu")
    assert done.returncode == 0, done.stderr
    assert "train: 48 images" in done.stdout
    if "batch_size: 16" in content:
        assert "learning rate 0.5" in done.stdout
        assert "batches of 16 images" in done.stdout


def test_a_package_that_is_missing_can_be_installed():
    message = """Does not validate against any of the Union subtypes
Subtypes: [<class 'pytorch_lightning.loggers.logger.Logger'>, <class 'NoneType'>]
Errors:
  - Problem with given class_path 'pytorch_lightning.loggers.CometLogger':
      Requirement 'comet-ml>=3.44.4' not met. HINT: Try running `pip install -U 'comet-ml>=3.44.4'`
  - Expected a <class 'NoneType'>
Given value type: <class 'jsonargparse._namespace.Namespace'>"""
    assert explain(message) == "CometLogger needs the package comet-ml, which is not installed: pip install comet-ml"


def test_one_image_in_a_step_is_too_few_for_batch_norm(lit_cnn: Command, tmp_path: Path):
    done = lit_cnn("fit", *SMALL, *DATA["FakeImages"], "--model.variant", "lenet_bn", "--data.batch_size", "1")
    assert "set batch_size to at least 2 (--data.batch_size)" in refused(done)
    assert not list(tmp_path.glob("runs/*/*/*"))


def test_a_text_that_looks_like_a_number_stays_a_text(lit_cnn: Command):
    done = lit_cnn("fit", *SMALL, *DATA["FakeImages"], "--trainer.gradient_clip_algorithm", "1e30")
    assert "`gradient_clip_algorithm` 1e30 is invalid" in refused(done)


def test_no_address_of_an_object_is_printed():
    callback = pl.callbacks.LambdaCallback()
    printed = without_addresses(f"{callback}, {type(callback)}, {callback.state_dict}, {refused}, {len}")
    assert printed == "LambdaCallback, LambdaCallback, state_dict, refused, len"
    assert explain(f"bad {[callback]}") == "bad [LambdaCallback]"


def test_a_name_cannot_steer_the_terminal():
    assert explain("no file a\nb\x1b[2Jc\x9b") == r"no file a b\x1b[2Jc\x9b"


def test_no_name_in_a_warning_steers_the_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    quiet()
    shown = warnings.formatwarning(UserWarning("1 class has too few images: a\x1b[31m\nb"), UserWarning, "file.py", 1)
    assert shown == "lit-cnn: warning: 1 class has too few images: a\\x1b[31m b\n"
