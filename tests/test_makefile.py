from pathlib import Path

import pytest
from conftest import ROOT, make


def test_help_documents_every_target_and_variable():
    done = make("help")
    assert done.returncode == 0
    targets = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("  make ")}
    assert {"setup", "train", "evaluate", "resume", "predict", "dashboard", "test", "lint", "clean"} <= targets
    for variable in ("MODEL", "DATA", "DATA_DIR", "DEVICES", "PRECISION", "EPOCHS", "SEED", "ARGS"):
        assert f"{variable}=" in done.stdout
    assert make().stdout == done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["MODEL=alexnot"],
            "no recipe MODEL=alexnot for DATA=digits; there are: alexnet densenet googlenet lenet mlp nin resnet vgg",
        ),
        (["MODEL="], "no recipe MODEL= for DATA=digits; there are: alexnet densenet googlenet lenet mlp nin resnet vgg"),
        (["MODEL=lenet", "DATA=imagenot"], "no recipes for DATA=imagenot; there are: cifar10 digits fashion_mnist"),
    ],
)
def test_unknown_names_print_those_that_there_are(arguments: list[str], says: str):
    done = make("train", *arguments)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize("target", ["evaluate", "resume", "predict"])
def test_a_run_must_be_named(target: str):
    done = make(target)
    assert done.returncode == 2
    assert "which run? RUN=runs/" in done.stderr


def test_the_images_to_predict_must_be_named():
    done = make("predict", "RUN=runs/a")
    assert done.returncode == 2
    assert "which images? IMAGES=folder" in done.stderr


def commands(*arguments: str) -> list[str]:
    """The ``lit-cnn`` lines that make would run."""
    done = make("--dry-run", *arguments)
    assert done.returncode == 0, done.stderr
    return [" ".join(line.split()).partition("/bin/")[2] for line in done.stdout.splitlines() if "/bin/lit-cnn" in line]


def test_variables_become_options():
    assert commands("train", "MODEL=googlenet") == [
        "lit-cnn fit --config experiments/digits/googlenet.yaml --test_after_fit"
    ]
    given = ["DATA=fashion_mnist", "DATA_DIR=my files", "DEVICES=2", "PRECISION=bf16-mixed", "EPOCHS=3", "SEED=7"]
    (command,) = commands("train", "MODEL=lenet", *given, "ARGS=--trainer.gradient_clip_val 1 --model.lr 0.5")
    assert command == (
        "lit-cnn fit --config experiments/fashion_mnist/lenet.yaml --test_after_fit --data.data_dir 'my files' "
        "--trainer.devices 2 --trainer.precision bf16-mixed --trainer.max_epochs 3 --seed_everything 7 "
        "--trainer.gradient_clip_val 1 --model.lr 0.5"
    )


def test_the_other_commands_take_a_run():
    assert commands("evaluate", "RUN=runs/a") == ["lit-cnn test --run 'runs/a'"]
    assert commands("resume", "RUN=runs/a", "EPOCHS=9") == ["lit-cnn fit --run 'runs/a' --trainer.max_epochs 9"]
    assert commands("predict", "RUN=runs/a", "IMAGES=new") == ["lit-cnn predict --run 'runs/a' --images 'new'"]


def test_the_dashboard_is_for_this_machine_alone():
    assert "tensorboard --logdir runs --host localhost" in make("--dry-run", "dashboard").stdout


def test_an_old_python_is_refused(tmp_path: Path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = make("setup", "PYTHON=false", folder=tmp_path)
    assert done.returncode == 2
    assert "lit_cnn needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()
