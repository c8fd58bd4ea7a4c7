"""From what a user types to what the parser takes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, Command, write_photos

from lit_cnn.commands.arguments import prepare
from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.fit_options import prepare_fit
from lit_cnn.commands.options import COMMAND_OPTIONS, check_options, options_by_class
from lit_cnn.commands.resuming import check_run_folder
from lit_cnn.runs.folder import Run

DIGITS = ["--data", "digits", "--data.image_size", "28", "--trainer.max_epochs", "1"]


def settings_of(lit_cnn: Command, *arguments: str | Path) -> dict:
    """What the parser makes of the options of ``fit``."""
    done = lit_cnn("fit", *arguments, "--print_config")
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


@pytest.mark.parametrize(
    ("names", "class_name", "variant"),
    [
        (["--model", "resnet50"], "LitResNet", "resnet50"),
        (["--model=resnet50"], "LitResNet", "resnet50"),
        (["--model", "LitResNet", "--model.variant", "resnet50"], "LitResNet", "resnet50"),
        (["--model", "vgg"], "LitVGG", "vgg11_bn_small"),
        (["--model", "LitVGG"], "LitVGG", "vgg11_bn_small"),
        (["--model", "alexnet"], "LitAlexNet", "alexnet"),
        (["--model", "lit_cnn.models.LitLeNet"], "LitLeNet", "lenet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_network_is_named_in_any_way(lit_cnn: Command, names: list[str], class_name: str, variant: str):
    model = settings_of(lit_cnn, *names, *DIGITS)["model"]
    assert model["class_path"].rpartition(".")[2] == class_name
    assert model["init_args"]["variant"] == variant


@pytest.mark.parametrize("name", ["fashion_mnist", "FashionMNIST"])
def test_a_dataset_is_named_as_its_recipes_or_its_class(lit_cnn: Command, name: str):
    data = settings_of(lit_cnn, "--model", "lenet", "--data", name)["data"]
    assert data["class_path"].endswith("FashionMNIST")


def test_a_folder_in_place_of_that_of_a_recipe_keeps_its_splits(lit_cnn: Command, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    data = {"class_path": "ImageFolder", "init_args": {"data_dir": "elsewhere", "manifest": "split.json"}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"model": "lenet", "data": data}))
    settings = settings_of(lit_cnn, "--config", "recipe.yaml", "--data", "photos")["data"]["init_args"]
    assert (settings["data_dir"], settings["manifest"]) == ("photos", "split.json")
    assert settings_of(lit_cnn, "--config", "recipe.yaml", "--data", "ImageFolder")["data"]["init_args"] == {
        **settings,
        "data_dir": "elsewhere",
    }


def test_a_share_of_validation_images_replaces_folds_that_are_left(lit_cnn: Command, tmp_path: Path):
    (tmp_path / "fold.yaml").write_text("model: lenet\ndata: digits\ndata.num_folds: 5\ndata.fold: 0\n")
    share = ["--config", "fold.yaml", "--data.val_fraction", "0.2"]
    assert "has no effect where num_folds divides the images" in lit_cnn("fit", *share).stderr
    settings = settings_of(lit_cnn, *share, "--data.num_folds", "null", "--data.fold", "null")["data"]["init_args"]
    assert (settings["val_fraction"], settings["num_folds"]) == (0.2, None)


@pytest.mark.parametrize(
    ("words", "epochs"),
    [
        ([], 10),
        (["--trainer.max_steps", "9"], -1),
        (["--config", "steps.yaml"], -1),
        (["--trainer.max_steps", "9", "--trainer.max_epochs", "3"], 3),
        (["--config", "epochs.yaml", "--trainer.max_steps", "9"], 4),
        (["--config", "steps.yaml", "--trainer.max_steps", "-1"], 10),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_length_in_steps_alone_is_not_cut_by_epochs(lit_cnn: Command, tmp_path: Path, words: list[str], epochs: int):
    (tmp_path / "steps.yaml").write_text("trainer: {max_steps: 9}\n")
    (tmp_path / "epochs.yaml").write_text("trainer: {max_epochs: 4}\n")
    settings = settings_of(lit_cnn, "--model", "lenet", "--data", "FakeImages", *words)
    assert settings["trainer"]["max_epochs"] == epochs


@pytest.mark.parametrize(
    ("configured", "named", "folder"),
    [
        ("ImageFolder", "fashion_mnist", "data"),
        ("lit_cnn.data.ImageFolder", "photos.csv", None),
        ("ImageTable", "photos", "photos"),
        ("Digits", "mnist", "data"),
        ("FashionMNIST", "digits", None),
        ("FashionMNIST", "mnist", "elsewhere"),
        ("ImageFolder", "photos", "photos"),
        ("ImageTable", "photos.csv", "elsewhere"),
    ],
)
def test_data_that_replace_those_of_a_recipe_do_not_take_their_folder(
    lit_cnn: Command, tmp_path: Path, configured: str, named: str, folder: str | None
):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos.csv").touch()
    data = {"class_path": configured, "init_args": {"data_dir": "elsewhere", "image_size": 28}}
    if configured == "Digits":
        del data["init_args"]["data_dir"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"model": "lenet", "data": data}))
    settings = settings_of(lit_cnn, "--config", "recipe.yaml", "--data", named)["data"]["init_args"]
    assert settings["data_dir"] == folder
    assert settings["image_size"] == 28
    own = settings_of(lit_cnn, "--config", "recipe.yaml", "--data", "mnist", "--data.data_dir", "own")["data"]["init_args"]
    assert own["data_dir"] == "own"


@pytest.mark.parametrize(("model", "size"), [("resnet18", 224), ("resnet20", 32), ("LitLeNet", 28)])
@pytest.mark.parametrize("way", ["options", "class", "file", "other file"])
def test_a_folder_is_data_at_the_size_of_the_network(
    tmp_path: Path, model: str, size: int, way: str, monkeypatch: pytest.MonkeyPatch
):
    from lit_cnn.commands.cli import CLI

    monkeypatch.setattr(CLI, "instantiate_classes", lambda _: None)
    (tmp_path / "my photos").mkdir()
    (tmp_path / "file.yaml").write_text(yaml.safe_dump({"model": model, "data": "my photos/"}))
    (tmp_path / "other.yaml").write_text("trainer: {max_epochs: 1}")
    monkeypatch.chdir(tmp_path)
    words = {
        "options": ["--model", model, "--data", "my photos/"],
        "class": ["--model", model, "--data", "ImageFolder", "--data.data_dir", "my photos/"],
        "file": ["--config", "file.yaml"],
        "other file": ["--config", "other.yaml", "--model", model, "--data", "my photos/"],
    }[way]
    for given, expected in (([], size), (["--data.image_size", "64"], 64), (["--data.init_args.image_size", "64"], 64)):
        data = CLI("fit", prepare("fit", *words, *given)[1:]).config.data
        assert data.class_path.endswith("ImageFolder")
        assert data.init_args.data_dir.rstrip("/") == "my photos"
        assert data.init_args.image_size == expected


SETTINGS = {"class_path": "resnet20", "init_args": {"lr": 0.5}}


@pytest.mark.parametrize("model", ["resnet20", {"class_path": "resnet20"}, SETTINGS, "model.yaml"], ids=str)
def test_a_configuration_names_networks_and_data_likewise(lit_cnn: Command, tmp_path: Path, model: object):
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(SETTINGS))
    content = {"model": model, "data": {"class_path": "digits"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    settings = settings_of(lit_cnn, "--config", "config.yaml")
    assert settings["model"]["class_path"].endswith("LitResNet")
    assert settings["model"]["init_args"]["variant"] == "resnet20"
    assert settings["model"]["init_args"]["lr"] == (0.5 if model in (SETTINGS, "model.yaml") else 0.01)
    assert settings["data"]["class_path"].endswith("Digits")


@pytest.mark.parametrize(
    "content",
    [
        "trainer.max_epochs: 5\ntrainer: {accelerator: cpu}\n",
        "trainer: {accelerator: cpu}\ntrainer.max_epochs: 5\n",
        "trainer:\ntrainer.max_epochs: 5\ntrainer.accelerator: cpu\n",
    ],
)
def test_settings_of_the_trainer_may_have_names_with_dots(lit_cnn: Command, tmp_path: Path, content: str):
    (tmp_path / "config.yaml").write_text(f"model: lenet\ndata: digits\n{content}", encoding="utf-8")
    trainer = settings_of(lit_cnn, "--config", "config.yaml")["trainer"]
    assert (trainer["max_epochs"], trainer["accelerator"]) == (5, "cpu")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", ["lenet", "LitLeNet", "lit_cnn.models.LitLeNet"])
def test_what_follows_from_the_data_cannot_be_set_in_a_file(lit_cnn: Command, tmp_path: Path, nested: bool, name: str):
    model = {"class_path": name, "init_args": {"num_classes": 7}}
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(model))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": "model.yaml" if nested else model, "data": "Digits"}))
    done = lit_cnn("fit", "--config", "config.yaml")
    assert done.returncode == 2
    assert "num_classes of the model follows from the data and cannot be set" in done.stderr


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--epochs", "--trainer.max_epochs"),
        ("--batch_size", "--data.batch_size"),
        ("--data_dir", "--data.data_dir"),
        ("--image-size", "--data.image_size"),
        ("--seed", "--seed_everything"),
        ("--variant", "--model.variant"),
        ("--devices", "--trainer.devices"),
        ("--modle", "--model"),
        ("--model.lrr", "--model.lr"),
        ("--data.imagesize", "--data.image_size"),
        ("--trainer.max_epoch", "--trainer.max_epochs"),
    ],
)
def test_an_unknown_option_gets_the_one_that_was_meant(option: str, hint: str):
    with pytest.raises(ValueError, match=rf"unknown option {option}; did you mean {hint}\b"):
        prepare("fit", "--model", "lenet", "--data", "digits", option, "1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "resnet19", "--data", "digits"], "unknown variant 'resnet19'; did you mean"),
        (["--model", "resnet18"], "--data is missing: add --data photos/"),
        (["--data", "digits"], "--model is missing: add --model resnet18"),
        (["photos", "--model", "resnet18"], "'photos' belongs to no option"),
        (["--model", "resnet18", "vgg", "--data", "digits"], "'vgg' belongs to no option"),
        (
            ["--model", "lenet", "--data", "digits", "--data.augment", "strongest"],
            "--data.augment must be one of none, flip, standard, trivial, randaugment, strong, got strongest",
        ),
        (
            ["--model", "lenet", "--data", "digits", "--data.augment.cutuot", "8"],
            r"unknown option --data\.augment\.cutuot; did you mean --data\.augment\.cutout\?",
        ),
        (
            ["--model", "lenet", "--data", "digits", "--data.augment.blur", "8"],
            r"unknown option --data\.augment\.blur; the parts of --data\.augment are preset, rotate, shear",
        ),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(words: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        prepare("fit", *words)


NEW = ["fit", "--model", "lenet", "--data", "digits"]


@pytest.mark.parametrize("null", ["null", "~"])
def test_no_value_is_no_name(null: str):
    with pytest.raises(ValueError, match="--name cannot be null: give a value, or leave it out"):
        prepare(*NEW, "--name", null)


@pytest.mark.parametrize(("option", "value"), [("--name", "a"), ("--runs_dir", "other")])
def test_the_folder_of_the_run_is_named_once(monkeypatch: pytest.MonkeyPatch, option: str, value: str):
    monkeypatch.setenv("LIT_CNN_RUN_FOLDER", "runs/job")
    with pytest.raises(
        ValueError, match=f"LIT_CNN_RUN_FOLDER=runs/job is the folder of the run: leave out {option}, or unset"
    ):
        prepare(*NEW, option, value)
    # The other processes of a training have the options of the first, which was started without the variable.
    monkeypatch.setenv("LIT_CNN_LAUNCHER", "1")
    assert f"{option}={value}" in prepare(*NEW, option, value)


def test_an_empty_name_of_the_folder_of_the_run_is_refused(
    lit_cnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LIT_CNN_RUN_FOLDER", "")
    done = lit_cnn(*NEW)
    assert done.stderr == "lit-cnn: error: LIT_CNN_RUN_FOLDER is empty: name a folder, or unset it\n"
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_has_a_folder_already(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIT_CNN_RUN_FOLDER", "")
    check_run_folder(Arguments(["--run", "runs/a"]))
    with pytest.raises(ValueError, match="LIT_CNN_RUN_FOLDER is empty"):
        check_run_folder(Arguments(["--model", "lenet"]))


@pytest.mark.parametrize("command", ["validate", "test"])
@pytest.mark.parametrize(
    "words",
    [
        ["--test_after_fit"],
        ["--diagnose", "5"],
        ["--save_every_steps", "3"],
        ["--save_every_minutes", "3"],
        ["--ema", "0.9"],
        ["--model.lr", "7"],
        ["--model.init_args.optimizer", "AdamW"],
        ["--trainer.max_epochs", "77"],
        ["--data.augment", "strong"],
        ["--data.augment.cutout", "8"],
    ],
    ids=" ".join,
)
def test_an_evaluation_refuses_what_only_a_training_follows(command: str, words: list[str]):
    name = words[0].lstrip("-")
    with pytest.raises(ValueError, match=f"^{name} is an option of lit-cnn fit: a run that is evaluated has its own; leave"):
        prepare(command, "--run", "runs/a", *words)


def test_an_evaluation_without_a_run_takes_all_settings_of_network_and_data(tmp_path: Path):
    (tmp_path / "best.ckpt").touch()
    words = ["--model", "lenet", "--data", "digits", "--model.lr", "0.1", "--trainer.max_epochs", "2"]
    assert prepare("test", *words, "--ckpt_path", str(tmp_path / "best.ckpt"))[0] == "test"


def test_a_part_of_the_augmentation_stands_beside_the_preset_of_a_recipe(lit_cnn: Command):
    recipe = ROOT / "experiments/fashion_mnist/vgg.yaml"
    assert "augment: flip" in recipe.read_text(encoding="utf-8")
    augment = settings_of(lit_cnn, "--config", recipe, "--data.augment.cutout", "8")["data"]["init_args"]["augment"]
    assert {name: value for name, value in augment.items() if value is not None} == {"preset": "flip", "cutout": 8}


def test_a_preset_replaces_all_augmentation_of_a_recipe(lit_cnn: Command):
    recipe = ROOT / "experiments/fashion_mnist/resnet20.yaml"
    (settings,) = yaml.safe_load_all(recipe.read_text(encoding="utf-8"))
    assert settings["data"]["init_args"]["augment"] == {"preset": "flip", "cutout": 8}
    assert settings["data"]["init_args"]["crop_padding"] == 2

    def augmentation_of(*words: str) -> tuple[dict[str, Any], Any, Any]:
        data = settings_of(lit_cnn, "--config", recipe, *words)["data"]["init_args"]
        return (
            {name: value for name, value in data["augment"].items() if value is not None},
            data["flip"],
            data["crop_padding"],
        )

    assert augmentation_of("--data.augment", "none") == ({"preset": "none"}, None, None)
    assert augmentation_of("--data.augment={preset: trivial, erasing: 0.1}") == (
        {"preset": "trivial", "erasing": 0.1},
        None,
        None,
    )
    # What is typed beside it stays, before it or behind.
    words = (
        "--data.augment.rotate",
        "5",
        "--data.crop_padding",
        "1",
        "--data.augment",
        "strong",
        "--data.init_args.flip",
        "true",
    )
    assert augmentation_of(*words) == ({"preset": "strong", "rotate": 5.0}, True, 1)


def test_a_network_is_as_the_weights_of_the_package_were_trained(lit_cnn: Command, tmp_path: Path):
    start = ("--model", "lenet_bn", "--model.weights", "FASHION_MNIST")
    model = settings_of(lit_cnn, *start, *DIGITS)["model"]["init_args"]
    assert (model["variant"], model["activation"], model["pooling"]) == ("lenet_bn", "relu", "max")
    assert model["lr"] == settings_of(lit_cnn, "--model", "lenet_bn", *DIGITS)["model"]["init_args"]["lr"]
    # However the network and the weights are named.
    (tmp_path / "whole.yaml").write_text(
        "model: {class_path: lenet_bn, init_args: {weights: FASHION_MNIST}}\ndata: digits\n"
    )
    (tmp_path / "network.yaml").write_text("model: lenet_bn\ndata: digits\n")
    weights = ("--model.weights", "FASHION_MNIST")
    for words in (
        ("--model", "LitLeNet", "--model.variant", "lenet_bn", *weights, *DIGITS),
        ("--model", "lit_cnn.models.LitLeNet", "--model.init_args.variant", "lenet_bn", *weights, *DIGITS),
        ("--config", "network.yaml", *weights),
        ("--config", "whole.yaml"),
    ):
        assert settings_of(lit_cnn, *words)["model"]["init_args"]["activation"] == "relu", words
    lenet = settings_of(lit_cnn, "--model", "LitLeNet", "--model.weights", "MNIST", *DIGITS)["model"]["init_args"]
    assert (lenet["activation"], lenet["pooling"]) == ("relu", "max")
    # What the user chooses stays, wherever it stands, and is refused with a reason.
    (tmp_path / "chosen.yaml").write_text("model: {class_path: lenet_bn, init_args: {pooling: avg}}\ndata: digits\n")
    for words in (
        (*start, "--model.pooling", "avg", *DIGITS),
        ("--model.pooling", "avg", *start, *DIGITS),
        ("--config", "chosen.yaml", *start),
        ("--config", "chosen.yaml", *weights),
    ):
        assert settings_of(lit_cnn, *words)["model"]["init_args"]["pooling"] == "avg", words
    done = lit_cnn("fit", *start, "--model.pooling", "avg", *DIGITS)
    assert done.returncode != 0
    assert "pooling" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_classes_cannot_be_mixed_if_there_is_one(lit_cnn: Command, tmp_path: Path):
    words = ("--data", "FakeImages", "--data.num_classes", "1", "--data.augment.mixup", "0.2", "--trainer.max_epochs", "1")
    done = lit_cnn("fit", "--model", "lenet", *words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "MixUp and CutMix mix classes, and fake_images has one: leave augment.mixup and augment.cutmix out" in line
    assert not list(tmp_path.glob("runs/*/*/*"))


def test_options_are_known_without_the_parser():
    """The quick check accepts what the parser accepts, and no more."""
    from lit_cnn.commands.cli import CLI

    parser = CLI("fit", prepare("fit", "--model", "lenet", "--data", "FakeImages")[1:]).parser
    names = {option.lstrip("-") for action in parser._actions for option in action.option_strings}
    top_level = {name.rstrip("+") for name in names if "." not in name}
    assert top_level - {"print_shtab"} <= set(COMMAND_OPTIONS)
    assert set(COMMAND_OPTIONS) - top_level <= {"trainer", "print_config"}
    trainer = {name.removeprefix("trainer.").rstrip("+") for name in names if name.startswith("trainer.")}
    assert {name for name in trainer if "." not in name} - {"help"} == options_by_class()["AutoTrainer"]


def test_the_order_of_options_changes_no_setting(photos: Path):
    words = [
        "--data.image_size",
        "32",
        "--model.lr",
        "0.1",
        "--data",
        str(photos),
        "--model",
        "resnet20",
        "--data.flip",
        "false",
    ]
    prepared = prepare("fit", *words)
    assert (
        prepared.index("--data=ImageFolder") < prepared.index("--data.image_size=32") < prepared.index("--data.flip=false")
    )
    assert prepared.index("--model=LitResNet") < prepared.index("--model.lr=0.1")


def test_options_of_classes_are_those_of_their_signatures():
    import inspect

    from lit_cnn import data, models
    from lit_cnn.training.classifier import LitClassifier

    def arguments(cls: type) -> set[str]:
        return {name for name, p in inspect.signature(cls).parameters.items() if p.kind is not p.VAR_KEYWORD}

    for cls in models.ARCHITECTURES.values():
        assert options_by_class()[cls.__name__] == arguments(cls) | arguments(LitClassifier) - {"network"}
    for name in data.__all__:
        if name != "ImageDataModule":
            own, *bases = (arguments(cls) for cls in getattr(data, name).__mro__ if issubclass(cls, data.ImageDataModule))
            assert own <= options_by_class()[name] <= own.union(*bases)


def test_nothing_heavy_is_imported_before_a_typo_is_found():
    program = (
        "import sys; sys.argv = ['lit-cnn', 'fit', '--modle', 'x']\n"
        "from lit_cnn.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, sorted({'torch', 'pytorch_lightning', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout == "2 []\n"
    assert done.stderr == "lit-cnn: error: unknown option --modle; did you mean --model?\n"


MINE = """
from torch import nn
from lit_cnn.training.classifier import LitClassifier
class LitResNet(LitClassifier):
    def __init__(self, num_classes: int = 10, in_channels: int = 1, width: int = 3):
        super().__init__(nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes)), num_classes, in_channels)
"""


@pytest.mark.slow
def test_a_class_of_ones_own_has_options_of_its_own(tmp_path: Path):
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "mine.yaml").write_text("model: {class_path: mine.LitResNet}\ndata: FakeImages")
    (tmp_path / "linked.yaml").write_text("model: {class_path: mine.LitResNet, init_args: {num_classes: 3}}\ndata: Digits")
    path = os.pathsep.join(filter(None, (str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH"))))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        # In a process of its own: a second class of this name would be in the way of the other tests.
        environment = os.environ | {"LIT_CNN_ALLOW": "mine", "PYTHONPATH": path}
        command = [sys.executable, "-m", "lit_cnn", "fit", *words, "--model.width", "4", "--print_config"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)

    for words in (["--config", "mine.yaml"], ["--model", "mine.LitResNet", "--data", "FakeImages"]):
        done = run(*words)
        assert done.returncode == 0, done.stderr
        assert yaml.safe_load(done.stdout)["model"]["init_args"]["width"] == 4
    assert "num_classes of the model follows from the data" in run("--config", "linked.yaml").stderr


def test_a_restarted_job_resumes_whatever_it_had_started_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = Run.create(tmp_path, "digits", "lenet")
    run.checkpoints.mkdir()
    torch.save({}, run.last)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    monkeypatch.setenv("LIT_CNN_RUN_FOLDER", str(run.path))
    words = prepare("fit", "--model", "lenet", "--data", "digits", "--ckpt_path", "first.ckpt")
    assert [word for word in words if "ckpt" in word] == [f"--ckpt_path={run.last}"]


def test_a_command_that_trains_in_a_restarted_job_is_not_the_training_that_goes_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with pytest.raises(ValueError, match="the folder of its run is not known"):
        prepare("fit", "--model", "lenet", *DIGITS)
    assert "--data.image_size=28" in prepare("fit", "--model", "lenet", *DIGITS, may_resume_job=False)
    assert prepare_fit(["--model", "lenet", *DIGITS], "find-lr trains no run")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resume", "a", "--run", "b"], "resume takes one run"),
        (["fit", "--run", "a", "--name", "b"], "a resumed run keeps its own"),
        (["test", "--run", "a", "--name", "b"], "only fit takes it"),
        (
            ["fit", "--model", "lenet", "--data", "digits", "--data.num_folds", "5", "--data.val_fraction", "0.2"],
            "--data.val_fraction has no effect where num_folds divides the images",
        ),
        (["test"], "test needs a trained network: --run FOLDER, or --ckpt_path FILE"),
        (["fit", "--model", "lenet", "--data", "photos.zip"], "there is no dataset, folder, archive or table photos.zip"),
        (["fit", "--model", "lenet", "--data", "~nobody_of_this_name/x"], "there is no such home folder"),
        (["fit", "--run", "~nobody_of_this_name/x"], "there is no such home folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_contradicts_itself_is_refused(words: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        prepare(*words)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model: lenett\ndata: Digits", "unknown model lenett; did you mean lenet? there are LitAlexNet"),
        ("model: lenet\ndata: digitz", "unknown data digitz; did you mean digits? there are CIFAR10"),
    ],
)
def test_an_unknown_name_in_a_file_gets_the_nearest(lit_cnn: Command, tmp_path: Path, content: str, message: str):
    (tmp_path / "config.yaml").write_text(content)
    (line,) = lit_cnn("fit", "--config", "config.yaml").stderr.splitlines()
    assert message in line
    assert line.count("LitAlexNet") + line.count("CIFAR10,") == 1


@pytest.mark.parametrize("command", ["predict", "doctor", "models", "runs", "report", "summary", "benchmark"])
def test_every_command_answers_a_typo_in_one_line(lit_cnn: Command, command: str):
    done = lit_cnn(command, "--hepl")
    assert done.returncode == 2
    assert done.stderr == "lit-cnn: error: unknown option --hepl; did you mean --help?\n"


def test_resume_is_a_command_of_its_own(lit_cnn: Command, tmp_path: Path):
    write_photos(tmp_path / "my photos", ("ant", "bee"), 12)
    small = ["--data.image_size", "28", "--trainer.max_epochs", "1", "--model.schedule", "constant"]
    assert lit_cnn("fit", "--model", "lenet", "--data", "my photos", *small, "--name", "first try").returncode == 0
    run = tmp_path / "runs" / "my_photos" / "lenet" / "first try"
    assert (run / "config.yaml").is_file()
    done = lit_cnn("resume", "latest", "--trainer.max_epochs", "2")
    assert done.returncode == 0, done.stderr
    assert "epoch 2/2" in done.stdout
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1
    assert lit_cnn("test", "--run", "latest").returncode == 0
    listed = lit_cnn("runs", "lenet", "my_photos")
    assert listed.returncode == 0, listed.stderr
    header, row = listed.stdout.splitlines()
    assert header.split()[0] == "run"
    assert "runs/my_photos/lenet/first try" in row
    assert "no run with vgg" in lit_cnn("runs", "vgg").stderr
    assert "which run? lit-cnn resume RUN" in lit_cnn("resume").stderr
    assert (
        "exists already" in lit_cnn("fit", "--model", "lenet", "--data", "my photos", *small, "--name", "first try").stderr
    )


def test_the_common_options_come_first_in_the_help(lit_cnn: Command):
    done = lit_cnn("fit", "--help")
    assert done.returncode == 0
    first = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  --")][:20]
    assert len(set(first)) == 20
    assert {"--model", "--data", "--trainer.max_epochs", "--model.lr"} <= set(first)
    check_options(first, "LitLeNet", "ImageFolder")


def test_a_reader_that_stops_early_is_no_error():
    command = f"{sys.executable} -m lit_cnn models | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
