"""``lit-cnn test``, ``validate`` and ``fit --test_after_fit``: scores are of the network and the data that they name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command, run_process, write_fashion_mnist, write_photos
from PIL import Image

from lit_cnn.data import Digits
from lit_cnn.inference.loading import load_run
from lit_cnn.runs.folder import Run
from lit_cnn.runs.predictions import RunPredictions

FIT = ["fit", "--model", "LitLeNet", "--data", "Digits", "--data.image_size", "28", "--data.batch_size", "256"]
FIT += ["--trainer.max_epochs", "1", "--trainer.precision", "32-true", "--trainer.accelerator", "cpu"]


def fit(command: Command, *options: str | Path) -> Run:
    """Trains in this process and gives the new run."""
    done = command(*FIT, *options)
    assert done.returncode == 0, done.stderr
    (folder,) = (Path(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith("run folder"))
    return Run(folder)


def refusal(command: Command, *arguments: str | Path) -> str:
    """The line with which a command refuses."""
    done = command(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_looks_are_counted_for_the_run_and_for_all_runs(lit_cnn: Command):
    first = fit(lit_cnn, "--test_after_fit")
    assert len(first.ledger) == 1
    shutil.rmtree(first.path)
    run = fit(lit_cnn, "--test_after_fit")
    done = lit_cnn("test", "--run", run.path)
    said = "looks at the test set   2 by this run; look 3 at these test images, by 2 runs (runs/ledger.jsonl)"
    assert said in done.stdout.splitlines()
    shutil.copy(run.best, "copy.ckpt")
    done = lit_cnn("test", "--config", run.config, "--ckpt_path", "copy.ckpt")
    assert "3 by this run; look 4 at these test images" in done.stdout
    assert len(Path("runs/ledger.jsonl").read_text(encoding="utf-8").splitlines()) == 4
    assert [len(look["digest"]) for look in run.ledger.entries()] == [32] * 3
    listed = lit_cnn("runs")
    assert listed.returncode == 0
    assert len(listed.stdout.splitlines()) == 2


def test_a_look_that_is_in_no_ledger_is_said_in_one_line(lit_cnn: Command):
    run = fit(lit_cnn)
    shutil.copy(run.best, "copy.ckpt")
    shutil.copy(run.config, "copy.yaml")
    shutil.rmtree(run.path)
    done = lit_cnn("test", "--config", "copy.yaml", "--ckpt_path", "copy.ckpt")
    message = "this look at 360 test images of digits is in no ledger: copy.ckpt belongs to no known run"
    assert done.stderr.splitlines() == [f"lit-cnn: warning: {message}"]
    assert not Path("runs/ledger.jsonl").exists()


def test_a_checkpoint_of_another_run_is_not_tested_as_one_of_this(lit_cnn: Command):
    run, other = fit(lit_cnn), fit(lit_cnn, "--seed_everything", "1")
    said = refusal(lit_cnn, "test", "--run", run.path, "--ckpt_path", other.best)
    assert f"{other.best} belongs to the run {other.path}, not to {run.path}" in said
    # Also if it was put into the folder of this run.
    shutil.copy(other.best, run.best)
    assert f"belongs to the run {other.path}" in refusal(lit_cnn, "test", "--run", run.path)
    assert len(run.ledger) == len(other.ledger) == 0


def test_another_dataset_is_an_entry_of_its_own(lit_cnn: Command, tmp_path: Path):
    run = fit(lit_cnn, "--test_after_fit")
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    write_fashion_mnist(tmp_path / "data", 64, 20)
    other = ["--data", "FashionMNIST", "--data.data_dir", "data", "--data.val_fraction", "0.25"]
    for command, longer in (("test", []), ("validate", []), ("fit", ["--trainer.max_epochs", "2"])):
        told = refusal(lit_cnn, command, "--run", run.path, *other, *longer)
        assert ("FashionMNIST" if command == "fit" else "fashion_mnist") in told
    assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == before
    (tmp_path / "data" / "FashionMNIST").rename(tmp_path / "data" / "MNIST")
    other[1] = "MNIST"
    for command in ("test", "validate"):
        done = lit_cnn(command, "--run", run.path, *other)
        assert done.returncode == 0, done.stderr
        line = f"cross-dataset evaluation: {run.path} was trained on digits, evaluated on mnist"
        assert done.stdout.splitlines()[0] == line
    after = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {
        "results.json",
        "ledger.jsonl",
    }
    results = run.read_results()
    assert results.pop("other_data")["mnist"]["test/images"] == 20
    assert results == json.loads(before["results.json"])
    assert run.ledger.entries()[-1]["data"] == "mnist"


def test_other_photos_of_the_same_classes_are_an_entry_of_their_own(lit_cnn: Command, tmp_path: Path):
    write_photos(tmp_path / "photos", ("ant", "bee", "cat"), 20)
    write_photos(tmp_path / "grey", ("ant", "bee", "cat"), 20, grey=True)
    write_photos(tmp_path / "other", ("ant", "bee", "cat"), 20)
    for path in (*(tmp_path / "grey").rglob("*.*"), *(tmp_path / "other").rglob("*.*")):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    photos = ["--data", "photos", "--data.image_size", "28", "--data.cache_dir", "null"]
    done = lit_cnn("fit", "--model", "LitLeNet", *photos, "--trainer.max_epochs", "1", "--test_after_fit")
    assert done.returncode == 0, done.stderr
    (run,) = map(Run, Path("runs").glob("photos/lenet/*"))
    before = run.read_results()
    # They are read in colour, as those of the run.
    done = lit_cnn("test", "--run", run.path, "--data", "grey")
    assert done.returncode == 0, done.stderr
    assert f"{run.path} was trained on photos, evaluated on grey" in done.stdout
    results = run.read_results()
    others = results.pop("other_data")
    assert others.keys() == {"grey"}
    assert others["grey"]["test/images"] == 60  # none of them has trained the network
    assert results == before
    write_photos(tmp_path / "fewer", ("ant", "bee"), 5)
    done = lit_cnn("test", "--run", run.path, "--data", "fewer")
    assert done.returncode == 2
    assert "photos cannot be evaluated on fewer, whose classes differ" in done.stderr
    (tmp_path / "only_a_test").mkdir()
    (tmp_path / "grey").rename(tmp_path / "only_a_test" / "test")
    done = lit_cnn("test", "--run", run.path, "--data", "only_a_test")
    assert done.returncode == 0, done.stderr
    assert "60 images" in done.stdout
    refused = lit_cnn("validate", "--run", run.path, "--data", "only_a_test")
    assert refused.returncode == 2
    assert "holds other images than the run" in refused.stderr
    assert "cannot be resumed on other" in lit_cnn("fit", "--run", run.path, "--data", "other").stderr.splitlines()[-1]
    # The same photos by another name.
    (tmp_path / "photos").rename(tmp_path / "renamed")
    done = lit_cnn("test", "--run", run.path, "--data", "renamed")
    assert "2 by this run; look 2 at these test images" in done.stdout
    assert "cross-dataset" not in done.stdout


def test_a_folder_tests_a_run_that_was_trained_on_no_files_with_all_images_at_its_size(lit_cnn: Command, tmp_path: Path):
    done = lit_cnn("fit", "--model", "resnet20", "--data", "digits", "--trainer.max_epochs", "1")
    assert done.returncode == 0, done.stderr
    (run,) = map(Run, Path("runs").glob("digits/resnet20/*"))
    write_photos(tmp_path / "other", tuple(map(str, range(10))), 3)
    done = lit_cnn("test", "--run", run.path, "--data", "other", "--data.cache_dir", "null")
    assert done.returncode == 0, done.stderr
    others = run.read_results()["other_data"]
    assert others.keys() == {"other"}
    assert others["other"]["test/images"] == 30


# The weights that a score is of

AVERAGED = {
    "ema": ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay=0.9"],
    "mean": ["--trainer.callbacks+=WeightAveraging"],
    "own": ["--ema", "0.9"],
}


@pytest.mark.parametrize("averaging", ["ema", pytest.param("mean", marks=pytest.mark.slow), "own"])
@pytest.mark.parametrize("validated", [pytest.param(True, marks=pytest.mark.slow), False])
def test_averaged_weights_are_tested_after_fit_as_later(lit_cnn: Command, averaging: str, validated: bool):
    limits = [] if validated else ["--trainer.limit_val_batches", "0"]
    options = ["--trainer.max_epochs", "3", "--model.lr", "0.1", *AVERAGED[averaging], *limits]
    run = fit(lit_cnn, *options, "--test_after_fit")
    assert lit_cnn("test", "--run", run.path).returncode == 0
    looks = run.ledger.entries()
    assert [look["checkpoint"] for look in looks] == [f"checkpoints/{'best' if validated else 'last'}.ckpt"] * 2
    assert looks[0]["step"] == looks[1]["step"] == torch.load(run.checkpoint, weights_only=True)["global_step"]
    assert looks[0]["test/loss"] == pytest.approx(looks[1]["test/loss"], rel=1e-6)


def test_weights_that_no_checkpoint_holds_are_not_called_one(lit_cnn: Command):
    run = fit(lit_cnn, "--trainer.enable_checkpointing", "false", "--test_after_fit")
    (look,) = run.ledger.entries()
    assert (look["checkpoint"], look["step"]) == (None, 5)
    assert run.read_results()["test/checkpoint"] is None


@pytest.mark.slow
def test_averaged_weights_of_two_processes_are_tested_after_fit_as_later(tmp_path: Path):
    options = [*AVERAGED["ema"], "--trainer.devices", "2", "--trainer.max_epochs", "3", "--model.lr", "0.1"]
    done = run_process(tmp_path, *FIT, *options, "--trainer.limit_val_batches", "0", "--test_after_fit")
    assert done.returncode == 0, done.stderr
    (run,) = map(Run, tmp_path.glob("runs/digits/lenet/*"))
    done = run_process(tmp_path, "test", "--run", run.path, "--trainer.devices", "1")
    assert done.returncode == 0, done.stderr
    looks = run.ledger.entries()
    assert [look["test/images"] for look in looks] == [360, 360]
    assert looks[0]["test/loss"] == pytest.approx(looks[1]["test/loss"], rel=1e-5)


def test_test_time_augmentation_is_named_and_kept_apart(lit_cnn: Command):
    run = fit(lit_cnn, "--test_after_fit", "--data.flip", "true")
    before, predictions = run.read_results(), run.predictions["test"].read_bytes()
    for tta in ("flip", "shifts"):
        done = lit_cnn("test", "--run", run.path, "--tta", tta)
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        assert f"test-time augmentation  {tta}: mean probability of" in done.stdout
        after = run.read_results()
        of_tta = after.pop("other_data")[f"digits, tta {tta}"]
        assert after == before
        assert of_tta["test/tta"] == run.ledger.entries()[-1]["test/tta"] == tta
        assert "test/tta" not in run.ledger.entries()[0]
        assert of_tta["test/loss"] != before["test/loss"]
        assert run.predictions["test"].read_bytes() == predictions
        kept = RunPredictions.read(run.path / "test" / f"digits_tta_{tta}" / "predictions.npz")
        # Logarithms of the mean probabilities, as load_run(…).predict has them.
        images = Digits().read("test").fetch(torch.arange(20)).permute(0, 2, 3, 1).numpy()
        values = [one.logits for one in load_run(run.path, device="cpu").predict(images, tta=tta)]
        np.testing.assert_allclose(kept.logits[:20], values, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_two_processes_test_with_test_time_augmentation_as_one(tmp_path: Path):
    done = run_process(tmp_path, *FIT, "--trainer.devices", "1", "--data.flip", "true")
    assert done.returncode == 0, done.stderr
    (run,) = map(Run, tmp_path.glob("runs/digits/lenet/*"))
    for devices in ("1", "2"):
        done = run_process(tmp_path, "test", "--run", run.path, "--tta", "flip", "--trainer.devices", devices)
        assert done.returncode == 0, done.stderr
    one, two = run.ledger.entries()
    assert two["test/tta"] == "flip"
    assert two["test/images"] == 360
    for score in ("test/loss", "test/acc", "test/f1"):
        assert two[score] == pytest.approx(one[score], rel=1e-5)


def test_unusual_tests_are_not_shown_as_the_test_of_the_run(lit_cnn: Command):
    run = fit(lit_cnn, "--data.flip", "true")

    def shown() -> set[Path]:
        return set(run.path.glob("events.out*"))

    before = shown()
    named = ("test", "--ckpt_path", run.best, "--model", "lenet", "--data", "digits", "--data.image_size", "28")
    done = lit_cnn(*named, "--tta", "flip")
    assert done.returncode == 0
    assert "mirror" not in done.stderr  # which training saw
    assert lit_cnn("test", "--run", run.path, "--trainer.limit_test_batches", "1").returncode == 0
    assert shown() == before
    assert lit_cnn("test", "--run", run.path).returncode == 0
    assert len(shown()) == len(before) + 1


def test_validation_with_test_time_augmentation_warns_of_unseen_mirror_images(lit_cnn: Command):
    run = fit(lit_cnn)
    predictions = run.predictions["val"].read_bytes()
    done = lit_cnn("validate", "--run", run.path, "--tta")
    assert done.stderr.startswith("lit-cnn: warning: --tta averages with mirror images, which training did not see")
    assert len(done.stderr.splitlines()) == 1
    assert run.predictions["val"].read_bytes() == predictions
    assert (run.path / "validation" / "digits_tta_flip" / "predictions.npz").is_file()
    assert "tta" not in run.config.read_text(encoding="utf-8")
    assert "tta: expected one of flip, shifts" in refusal(lit_cnn, "test", "--run", run.path, "--tta", "mirror")
    assert "fit evaluates without test-time augmentation" in refusal(lit_cnn, *FIT, "--tta", "flip")
