from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, make


def test_help_documents_every_target_and_variable():
    done = make("help")
    assert done.returncode == 0
    targets = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("  make ")}
    assert {
        "setup",
        "train",
        "evaluate",
        "resume",
        "predict",
        "compare",
        "claims",
        "dashboard",
        "test",
        "test-lowest",
        "lint",
        "clean",
    } <= targets
    for variable in (
        "MODEL",
        "DATA",
        "DATA_DIR",
        "DEVICES",
        "PRECISION",
        "EPOCHS",
        "TIME_LIMIT",
        "SEED",
        "SEEDS",
        "THREADS",
        "RUN_NAME",
        "ARGS",
    ):
        assert f"{variable}=" in done.stdout
    assert make().stdout == done.stdout


def test_a_model_must_be_named():
    done = make("train", "MODEL=")
    assert done.returncode == 2
    assert "which model? MODEL=googlenet" in done.stderr


@pytest.mark.parametrize("target", ["evaluate", "resume", "predict", "report"])
def test_a_run_must_be_named(target: str):
    done = make(target)
    assert done.returncode == 2
    assert "which run? RUN=latest" in done.stderr


def test_the_images_to_predict_must_be_named():
    done = make("predict", "RUN=runs/a")
    assert done.returncode == 2
    assert "which images? IMAGES=folder" in done.stderr


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., list[str]]:
    """Runs make with a stand-in for the installed command; returns the arguments that ``lit-cnn`` got."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    command = venv / "bin" / "lit-cnn"
    command.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    command.chmod(0o755)
    (venv / "installed").touch()

    def run(*arguments: str) -> list[str]:
        done = make(*arguments, f"VENV={venv}")
        assert done.returncode == 0, done.stderr
        return [*done.stderr.splitlines(), *done.stdout.splitlines()]

    return run


def test_variables_become_options(call: Callable[..., list[str]]):
    recipe = "experiments/digits/googlenet.yaml"
    assert call("train", "MODEL=googlenet") == ["fit", "--config", recipe, "--test_after_fit"]
    given = [
        "DATA=fashion_mnist",
        "DATA_DIR=my 'files'",
        "DEVICES=2",
        "PRECISION=bf16-mixed",
        "EPOCHS=3",
        "SEED=7",
        "THREADS=1",
    ]
    words = call("train", "MODEL=lenet", *given, "RUN_NAME=a b", "ARGS=--trainer.gradient_clip_val 1 --model.lr 0.5")
    assert words == [
        *["fit", "--config", "experiments/fashion_mnist/lenet.yaml", "--test_after_fit", "--name", "a b"],
        *["--data.data_dir", "my 'files'", "--trainer.devices", "2", "--trainer.precision", "bf16-mixed", "--threads", "1"],
        *["--trainer.max_epochs", "3", "--seed_everything", "7"],
        *["--trainer.gradient_clip_val", "1", "--model.lr", "0.5"],
    ]


def test_a_time_limit_is_an_option(call: Callable[..., list[str]]):
    assert call("train", "MODEL=lenet", "TIME_LIMIT=20m")[-2:] == ["--time_limit", "20m"]


def test_several_seeds_are_an_option(call: Callable[..., list[str]]):
    words = call("train", "MODEL=lenet", "SEEDS=0,3")
    assert words == ["fit", "--config", "experiments/digits/lenet.yaml", "--test_after_fit", "--seeds", "0,3"]


@pytest.mark.parametrize("name", ["photos", "my 'best' photos"])
def test_a_folder_needs_no_recipe(call: Callable[..., list[str]], tmp_path: Path, name: str):
    folder = tmp_path / name
    folder.mkdir()
    words = call("train", "MODEL=resnet18", f"DATA={folder}/")
    assert words == ["fit", "--model", "resnet18", "--data", f"{folder}/", "--test_after_fit"]


def test_without_a_recipe_the_network_trains_on_the_data_with_default_settings(call: Callable[..., list[str]]):
    there = "alexnet densenet googlenet lenet mlp nin resnet vgg"
    assert call("train", "MODEL=resnet20") == [
        f"no recipe resnet20 for digits (there are: {there}); default settings",
        *["fit", "--model", "resnet20", "--data", "digits", "--test_after_fit"],
    ]
    for data in ("cifar100", "../experiments", "no such folder", ""):
        assert call("train", "MODEL=lenet", f"DATA={data}") == [
            "fit",
            "--model",
            "lenet",
            "--data",
            data,
            "--test_after_fit",
        ]


def test_the_other_commands_take_a_run(call: Callable[..., list[str]]):
    assert call("evaluate", "RUN=runs/it's a") == ["test", "--run", "runs/it's a"]
    machine = ["--data.data_dir", "my files", "--trainer.devices", "1", "--threads", "1"]
    words = call("evaluate", "RUN=latest", "DATA_DIR=my files", "DEVICES=1", "THREADS=1")
    assert words == ["test", "--run", "latest", *machine]
    assert call("resume", "RUN=latest", "EPOCHS=9") == ["resume", "latest", "--trainer.max_epochs", "9"]
    assert call("predict", "RUN=runs/a", "IMAGES=new ones") == ["predict", "--run", "runs/a", "--images", "new ones"]
    assert call("predict", "RUN=a", "IMAGES=b", "THREADS=1") == ["predict", "--run", "a", "--images", "b", "--threads", "1"]
    assert call("compare", "ARMS='runs/my run' runs/b") == ["compare", "runs/my run", "runs/b"]
    assert call("compare", 'ARMS="runs/my run" runs/b') == ["compare", "runs/my run", "runs/b"]
    assert call("runs", "ARGS=lenet") == ["runs", "lenet"]
    doctor = call("doctor", "DATA=my photos", "MODEL=resnet18")
    assert doctor == ["doctor", "--data", "my photos", "--model", "resnet18"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "MODEL=lenet", "EPOCH=3"], "EPOCH does nothing in make train, which takes MODEL DATA DATA_DIR"),
        (["train", "MODEL=lenet", "NAME=a", "SEED=1"], "NAME does nothing in make train"),
        (["evaluate", "RUN=a", "EPOCHS=3"], "EPOCHS does nothing in make evaluate, which takes RUN"),
        (["resume", "RUN=a", "RUN_NAME=b"], "RUN_NAME does nothing in make resume"),
        (["predict", "RUN=a", "IMAGES=b", "DEVICES=2"], "DEVICES does nothing in make predict"),
        (["benchmark", "DATA=mnist"], "DATA does nothing in make benchmark"),
        (["MODEL=lenet"], "MODEL does nothing in make help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_variable_that_a_target_does_not_take_is_refused(words: list[str], message: str):
    done = make(*words)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize("word", ["CUDA_VISIBLE_DEVICES=1", "PIP_INDEX_URL=x", "__BASH_MAKE_COMPLETION__=1"])
def test_variables_of_other_programs_are_taken(word: str):
    done = make("--dry-run", "train", "MODEL=lenet", word)
    assert "does nothing" not in done.stderr
    assert "lit-cnn fit" in done.stdout


def test_targets_made_together_take_the_variables_of_each(call: Callable[..., list[str]]):
    words = call("evaluate", "predict", "RUN=a", "IMAGES=b", "DEVICES=1")
    assert words == ["test", "--run", "a", "--trainer.devices", "1", "predict", "--run", "a", "--images", "b"]


def test_the_dashboard_is_for_this_machine_alone():
    assert "tensorboard --logdir runs --host localhost" in make("--dry-run", "dashboard").stdout


def test_an_old_python_is_refused(tmp_path: Path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = make("setup", "PYTHON=false", folder=tmp_path)
    assert done.returncode == 2
    assert "lit_cnn needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()
