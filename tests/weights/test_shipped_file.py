"""Weights that come with the package: how they are made from a run, and how they are used by name."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import ROOT, Command, load_script
from PIL import Image

from lit_cnn.__main__ import main
from lit_cnn.inference.loading import load_pretrained, load_run
from lit_cnn.models import LitLeNet, build
from lit_cnn.runs.environment import without_folders
from lit_cnn.runs.folder import Run
from lit_cnn.system.json_files import read_object, write_object
from lit_cnn.weights import shipped_file
from lit_cnn.weights.shipped_file import read_safetensors, write_shipped
from lit_cnn.weights.sources import find_weights, is_published

COMMIT = "0" * 40
ABOUT = {"dataset": "scikit-learn's digits", "licence": "CC BY 4.0", "source": "UCI"}


@pytest.fixture(scope="module")
def ship() -> ModuleType:
    """The script, as a module."""
    return load_script("ship")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a LeNet with ReLUs that was tested once, as if on a clean commit."""
    place = tmp_path_factory.mktemp("shipped")
    options = ["--model", "lenet", "--model.activation", "relu", "--data", "digits", "--data.image_size", "28"]
    options += ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "4", "--trainer.accelerator", "cpu"]
    options += ["--test_after_fit", "--runs_dir", str(place)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["lit-cnn", "fit", *options])
        assert main() == 0
    (folder,) = place.glob("digits/lenet/*")
    change(folder / "environment.json", commit=COMMIT)
    return Run(folder)


@pytest.fixture
def shipped(trained: Run, ship: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's weights are those of the run alone, called DIGITS."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    ship.ship(trained, "DIGITS", **ABOUT, folder=folder)
    monkeypatch.setattr(shipped_file, "FOLDER", folder)
    return folder


def change(path: Path, **entries: object) -> None:
    write_object(path, read_object(path) | entries)


def an_image(path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    return path


# Made from a run


def test_a_file_is_whole_and_has_a_card(shipped: Path, trained: Run):
    assert sorted(path.name for path in shipped.iterdir()) == ["lenet-DIGITS.md", "lenet-DIGITS.safetensors"]
    content, results = read_safetensors(shipped / "lenet-DIGITS.safetensors"), trained.read_results()
    training, data = content["training"], content["data"]
    assert content["lit_cnn"]["class_path"] == "lit_cnn.models.lenet.LitLeNet"
    assert content["hyper_parameters"]["activation"] == "relu"
    assert (data["dataset"], data["channels"], data["image_size"], data["native_size"]) == ("digits", 1, 28, 8)
    assert data["class_names"] == list("0123456789")
    assert training["test/acc"] == results["test/acc"]
    assert (training["test/images"], training["val/images"], training["commit"]) == (360, 144, COMMIT)
    assert ABOUT.items() <= training.items()
    assert "max_epochs: 1" in training["config"]
    assert str(trained.root) not in json.dumps(content | {"state_dict": None})
    card = (shipped / "lenet-DIGITS.md").read_text()
    for text in ("61,706 parameters", "grey images of 28×28", "test accuracy", "360 images", "CC BY 4.0", COMMIT):
        assert text in card
    assert "--model.weights DIGITS --data photos/" in card


@pytest.mark.parametrize("words", [["--config", "LICENSE"], ["-c", "LICENSE"], ["--config=LICENSE"]], ids=str)
def test_a_card_has_the_recipe_as_the_commit_has_it(ship: ModuleType, words: list[str]):
    path, text = ship.recipe_in(["lit-cnn", "fit", "--seed_everything", "1", *words], "HEAD")
    assert (path, text) == ("LICENSE", (ROOT / "LICENSE").read_text())
    assert ship.recipe_in(["lit-cnn", "fit"], "HEAD") == (None, None)
    with pytest.raises(ValueError, match=r"has no recipe other\.yaml"):
        ship.recipe_in(["lit-cnn", "fit", "--config", "other.yaml"], "HEAD")


def test_a_card_of_a_resumed_run_has_the_command_that_began_it(trained: Run, ship: ModuleType, tmp_path: Path):
    resumed = Run(shutil.copytree(trained.path, tmp_path / "resumed"))
    first = resumed.read_environment()
    change(resumed.path / "environment.json", command=["lit-cnn", "resume", "latest"], earlier=[first])
    path = ship.ship(resumed, "RESUMED", **ABOUT, folder=tmp_path)
    assert shlex.join(["lit-cnn", *without_folders(first["command"][1:])]) in path.with_suffix(".md").read_text()


def test_equal_runs_give_equal_bytes(shipped: Path, trained: Run, ship: ModuleType, tmp_path: Path):
    again = ship.ship(trained, "DIGITS", **ABOUT, folder=tmp_path)
    assert again.read_bytes() == (shipped / again.name).read_bytes()


def forget_the_commit(run: Run) -> None:
    change(run.environment, commit=None)


def change_the_code(run: Run) -> None:
    change(run.environment, commit=f"{COMMIT}-dirty")


def resume_on_another_commit(run: Run) -> None:
    change(run.environment, earlier=[{"commit": "1" * 40}])


def look_again(run: Run) -> None:
    (entry,) = run.ledger.entries()
    run.ledger.enter(entry)


def use_views(run: Run) -> None:
    (entry,) = run.ledger.entries()
    run.ledger.path.write_text(json.dumps(entry | {"test/tta": "flip"}) + "\n")


def train_further(run: Run) -> None:
    (entry,) = run.ledger.entries()
    run.ledger.path.write_text(json.dumps(entry | {"step": 3}) + "\n")


def diverge(run: Run) -> None:
    run.add_results({"diverged": "the loss is nan"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (forget_the_commit, "was not trained on one commit without changes: commit, and train again"),
        (change_the_code, "was not trained on one commit without changes"),
        (resume_on_another_commit, "was not trained on one commit without changes"),
        (look_again, "was tested 2 times: ship a run that was tested once"),
        (use_views, "or with test-time augmentation: train again"),
        (train_further, "was not tested with .*best.ckpt as it is now"),
        (diverge, "is not finished: train it to its end"),
    ],
)
def test_a_run_that_nobody_can_check_is_refused(
    trained: Run, ship: ModuleType, tmp_path: Path, spoil: Callable[[Run], None], message: str
):
    shutil.copytree(trained.path, tmp_path / "run")
    spoil(Run(tmp_path / "run"))
    with pytest.raises(ValueError, match=message):
        ship.ship(Run(tmp_path / "run"), "DIGITS", **ABOUT, folder=tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_command_refuses_in_one_line(
    ship: ModuleType, trained: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    words = ["ship.py", str(trained.path), "digits", "--dataset", "d", "--licence", "l", "--source", "s"]
    monkeypatch.setattr(sys, "argv", words)
    assert ship.main() == 2
    assert capsys.readouterr().err == "ship: the name must be capitals, digits and _, got 'digits'\n"


# Used by name


@pytest.mark.usefixtures("shipped")
def test_the_network_is_the_one_that_was_trained(trained: Run):
    network, expected = build("lenet", weights="DIGITS").eval(), load_run(trained.path, device="cpu").network
    assert (network.num_classes, network.in_channels) == (10, 1)
    images = torch.randn(4, 1, 28, 28)
    torch.testing.assert_close(network(images), expected(images))  # also its ReLUs
    other = build("lenet", num_classes=3, in_channels=3, weights="DIGITS")
    assert other(torch.zeros(2, 3, 28, 28)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"lenet DIGITS do not fit: they were trained with activation='relu', .*'tanh'"):
        build("lenet", weights="DIGITS", activation="tanh")


def test_a_run_decides_classes_and_channels_too(trained: Run):
    network = build("lenet", weights=trained.path, activation="relu")
    assert (network.num_classes, network.in_channels) == (10, 1)


@pytest.mark.usefixtures("shipped")
def test_predictions_are_those_of_the_run(trained: Run, tmp_path: Path):
    image = an_image(tmp_path / "digit.png")
    own, expected = load_pretrained("lenet", "DIGITS", device="cpu"), load_run(trained.path, device="cpu")
    assert (own.preprocessing, own.reading, own.dataset) == (expected.preprocessing, expected.reading, "digits")
    assert (own.class_names, own.mirrored, own.source) == (expected.class_names, expected.mirrored, "lenet DIGITS")
    assert own.predict(image).probabilities == expected.predict(image).probabilities


@pytest.mark.usefixtures("shipped")
def test_the_commands_take_them(lit_cnn: Command, tmp_path: Path):
    an_image(tmp_path / "digit.png")
    done = lit_cnn("predict", "--model", "lenet", "--weights", "DIGITS", "--images", "digit.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "predictions.csv").read_text().splitlines()[1].split(",")[1] in "0123456789"
    done = lit_cnn("predict", "--model", "lenet", "--weights", "DIGITS", "--images", "digit.png", "--calibrated")
    assert "--calibrated cannot be used" in done.stderr
    assert lit_cnn("models", "lenet").stdout.splitlines()[1].endswith("  DIGITS")


@pytest.mark.usefixtures("shipped")
def test_a_training_starts_from_them(lit_cnn: Command, tmp_path: Path):
    options = ["--data", "fake_images", "--data.image_size", "28", "--data.channels", "3", "--data.num_classes", "4"]
    options += ["--model", "lenet", "--model.activation", "relu", "--model.weights", "DIGITS"]
    options += ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    done = lit_cnn("fit", *options)
    assert done.returncode == 0, done.stderr
    assert (
        "weights of lenet DIGITS; first convolution spread over the colours; new classifier.5 for 4 classes instead of 10; "
        "images normalised as for these weights"
    ) in done.stdout
    (config,) = tmp_path.glob("runs/*/lenet/*/config.yaml")
    assert "weights: DIGITS" in config.read_text()


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    ("variant", "name", "message"),
    [
        ("lenet", "digits", "'digits' is neither a file nor a run, nor one of lit_cnn's; did you mean DIGITS?"),
        ("lenet", "IMAGENET1K_V1", "torchvision has no weights of lenet: .* nor one of lit_cnn's; there are DIGITS"),
        ("lenet", "DEFAULT", "torchvision has no weights of lenet: name one of lit_cnn's; there are DIGITS"),
        ("lenet_bn", "DIGITS", "weights 'DIGITS' are of lenet, not of lenet_bn"),
        ("resnet18", "DIGITS", "weights 'DIGITS' are of lenet, not of resnet18"),
        ("resnet18", "imagenet1k_v1", "are not torchvision's of resnet18; did you mean IMAGENET1K_V1"),
    ],
)
def test_unknown_names_have_a_suggestion(variant: str, name: str, message: str):
    with pytest.raises(ValueError, match=message):
        build(variant, weights=name)


@pytest.mark.usefixtures("shipped")
def test_a_name_is_not_a_folder_that_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DIGITS").mkdir()
    assert find_weights("DIGITS", "lenet").source == "lenet DIGITS"
    with pytest.raises(ValueError, match="not a run folder"):
        find_weights("./DIGITS", "lenet")


@pytest.mark.usefixtures("shipped")
def test_they_may_have_seen_the_images_of_a_user():
    """As those of a run: folds of the same dataset must not start from them."""
    assert not is_published("DIGITS", "lenet")
    assert is_published("IMAGENET1K_V1", "resnet18")


def test_a_copy_elsewhere_is_whole_too(shipped: Path, tmp_path: Path):
    copied = shutil.copy(shipped / "lenet-DIGITS.safetensors", tmp_path / "own.safetensors")
    weights = find_weights(copied, "lenet")
    assert (weights.class_names, weights.image_size) == (tuple("0123456789"), 28)
    model = LitLeNet(activation="relu", weights=str(copied))
    assert model.normalisation == (weights.mean, weights.std)
    with pytest.raises(ValueError, match="activation is relu in the checkpoint and tanh in the network"):
        LitLeNet(weights=str(copied))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"lit_cnn": {"format": 1}}, "its facts cannot be read"),
        ({"lit_cnn": {"format": 99, "version": "9.0"}}, "has format 99, written by lit-cnn 9.0"),
        ({}, "its facts cannot be read"),
    ],
)
def test_a_file_that_this_version_cannot_read_is_refused(tmp_path: Path, facts: dict, message: str):
    path = tmp_path / "own.safetensors"
    write_shipped(path, build("lenet").state_dict(), facts)
    with pytest.raises(ValueError, match=message):
        find_weights(path, "lenet")
