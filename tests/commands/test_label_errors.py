"""lit-cnn label-errors: on runs of folds that nobody trained, and with training on digits whose labels were swapped."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Command, run_process, write_photos
from fake_runs import write_run
from html_pages import check_page
from PIL import Image

from lit_cnn.commands.folds import check_recipe
from lit_cnn.data.digits import Digits
from lit_cnn.runs.folder import Run
from lit_cnn.runs.predictions import RunPredictions

NUM_FOLDS = 3
WRONG = {f"#{number}" for number in range(0, 1400, 35)}


def write_folds(folder: Path) -> Iterator[Run]:
    """A run on digits and those of its folds, which doubt the labels of :data:`WRONG`."""
    for fold in range(NUM_FOLDS):
        own = {"data.num_folds": NUM_FOLDS, "data.fold": fold}
        run = write_run(folder / f"fold-{fold}", settings=own)
        data = Digits(image_size=28, batch_size=10, seed=0, num_folds=NUM_FOLDS, fold=fold)
        data.setup("validate")
        data.write_manifest(folder / f"fold-{fold}" / "data.json")
        images = data.splits["val"]
        labels = images.labels.numpy()
        names = [images.name(position) for position in range(len(labels))]
        answers = np.where([name in WRONG for name in names], (labels + 1) % 10, labels)
        logits = np.random.default_rng(fold).normal(size=(len(labels), 10))
        logits[np.arange(len(labels)), answers] += 9
        predictions = RunPredictions(names, labels, logits.astype(np.float32), data.class_names, data.digest)
        predictions.write(run.predictions["val"])
        yield run


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return list(write_folds(tmp_path_factory.mktemp("folds")))


def paths(runs: list[Run]) -> list[Path]:
    return [run.path for run in runs]


def test_doubted_labels_are_listed_and_shown(lit_cnn: Command, folds: list[Run], tmp_path: Path):
    pytest.importorskip("cleanlab")
    result = lit_cnn("label-errors", "--run", folds[0].path, "--from", *paths(folds), "--output", "errors.html")
    assert result.returncode == 0, result.stderr
    total = sum(json.loads((folds[0].path / "data.json").read_text(encoding="utf-8"))["counts"].values())
    with (tmp_path / "errors.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert f"{len(rows)} of {total:,} images are likely to have a wrong label" in result.stdout
    assert re.search(r"^the networks of the folds are right for 9[67]\.\d % of their images$", result.stdout, re.M)
    assert {row["file"] for row in rows} <= WRONG
    assert len(rows) >= len(WRONG) // 2  # their number is an estimate
    assert all(int(row["suggested"]) == (int(row["label"]) + 1) % 10 for row in rows)
    assert [row["probability_of_label"] for row in rows] == sorted(row["probability_of_label"] for row in rows)
    page = check_page((tmp_path / "errors.html").read_text(encoding="utf-8"))
    assert page.tags.count("img") == len(rows)
    assert "rather" in page.text
    assert "The checkpoint of each was chosen by its score on the part that it left out" in page.text
    assert "A label counts as a likely error if another class is likelier" in page.text
    assert not folds[0].ledger.entries()


def test_folds_must_be_complete_and_different(lit_cnn: Command, folds: list[Run]):
    pytest.importorskip("cleanlab")
    for given, message in (
        (folds[:2], "give the runs of all folds"),
        ([*folds, folds[0]], "both predict #"),
        (folds[:1], "at least two folds"),
    ):
        result = lit_cnn("label-errors", "--run", folds[0].path, "--from", *paths(given), "--output", "errors.html")
        assert result.returncode == 2
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


def test_folds_of_other_images_are_refused(lit_cnn: Command, folds: list[Run], tmp_path: Path):
    pytest.importorskip("cleanlab")
    other = write_run(tmp_path / "other")
    result = lit_cnn("label-errors", "--run", other.path, "--from", *paths(folds))
    assert result.returncode == 2
    assert "are not those of" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", "1"], "--folds must be from 2 to 20, got 1"),
        (["--num_images", "-1"], "--num_images must be from 0 to 1000, got -1"),
        (["--folds", "3", "--from", "runs"], "leave out --folds"),
        (["--output", "errors.csv"], "name a file that ends with .html"),
    ],
)
def test_nonsense_is_refused_in_a_line(lit_cnn: Command, folds: list[Run], options: list[str], message: str):
    result = lit_cnn("label-errors", "--run", folds[0].path, *options)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model.weights": "runs/digits/earlier"}, "started from runs/digits/earlier, which may have been trained on"),
        ({"model.weights": "latest"}, "started from latest, which may"),
        ({"model.weights": "own.pt"}, "started from own.pt, which may"),
        ({"trainer.limit_val_batches": 1}, "trainer.limit_val_batches=1"),
        ({"trainer.limit_val_batches": 0.5}, "trainer.limit_val_batches=0.5"),
        ({"trainer.overfit_batches": 2}, "trainer.overfit_batches=2"),
        ({"trainer.enable_checkpointing": False}, "=false and keeps no predictions: name a run that saves"),
        ({"trainer.check_val_every_n_epoch": 3}, "validates every 3 epochs and trains 2: name a run that validates"),
        ({}, "digits has other images now than"),  # the run's digest is not that of digits
    ],
)
def test_a_recipe_that_folds_cannot_use_is_refused_before_the_first(
    lit_cnn: Command, tmp_path: Path, settings: dict[str, object], message: str
):
    pytest.importorskip("cleanlab")
    run = write_run(tmp_path / "run", settings=settings)
    result = lit_cnn("label-errors", "--run", run.path)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (run.path / "folds").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model.weights": None},
        {"model.variant": "alexnet", "model.weights": "IMAGENET1K_V1"},
        {"model.variant": "alexnet", "model.weights": "downloads/alexnet-owt-7be5be79.pth"},
        {"trainer.limit_val_batches": 1.0, "trainer.overfit_batches": 0.0},
        {"trainer.enable_checkpointing": True, "trainer.check_val_every_n_epoch": 2},
        {"trainer.max_epochs": -1, "trainer.max_steps": 50, "trainer.check_val_every_n_epoch": 2},
    ],
)
def test_other_recipes_suit_folds(tmp_path: Path, settings: dict[str, object]):
    check_recipe(write_run(tmp_path / "run", settings=settings))


def test_images_with_a_validation_folder_are_refused_before_the_first_fold(lit_cnn: Command, tmp_path: Path):
    pytest.importorskip("cleanlab")
    for split, number in (("train", 6), ("val", 2), ("test", 2)):
        write_photos(tmp_path / "photos" / split, ("ant", "bee"), number)
    data = {"class_path": "lit_cnn.ImageFolder", "init_args": {"data_dir": str(tmp_path / "photos"), "image_size": 28}}
    run = write_run(tmp_path / "run", settings={"data": data})
    result = lit_cnn("label-errors", "--run", run.path)
    assert result.returncode == 2
    assert "have a validation set of their own" in result.stderr
    assert "num_folds" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_fold_of_other_images_is_refused_before_the_next(lit_cnn: Command, tmp_path: Path):
    pytest.importorskip("cleanlab")
    run = write_run(tmp_path / "run")
    own = write_run(run.path / "folds" / "2-of-5", data={"digest": "0" * 32})
    result = lit_cnn("label-errors", "--run", run.path)
    assert result.returncode == 2
    assert f"the images of {own.path} are not those of {run.path}: remove it" in result.stderr


def test_weights_of_given_folds_are_warned_about(lit_cnn: Command, tmp_path: Path):
    pytest.importorskip("cleanlab")
    run = write_run(tmp_path / "run", settings={"model.weights": "own.pt"})
    result = lit_cnn("label-errors", "--run", run.path, "--from", run.path)
    assert f"warning: {run.path} started from own.pt" in result.stderr


def test_only_tables_of_its_own_are_replaced(lit_cnn: Command, folds: list[Run], tmp_path: Path):
    pytest.importorskip("cleanlab")
    photos = tmp_path / "photos.csv"
    photos.write_text("file,label\na.png,ant\n", encoding="utf-8")
    options = "--run", folds[0].path, "--from", *paths(folds), "--num_images", "0", "--output"
    result = lit_cnn("label-errors", *options, "photos.html")
    assert result.returncode == 2
    assert "photos.csv is another table" in result.stderr
    assert photos.read_text(encoding="utf-8") == "file,label\na.png,ant\n"
    for _ in range(2):
        assert lit_cnn("label-errors", *options, "errors.html").returncode == 0


def test_files_of_a_run_are_not_replaced(lit_cnn: Command, folds: list[Run]):
    result = lit_cnn("label-errors", "--run", folds[0].path, "--output", folds[0].path / "report.html")
    assert result.returncode == 2
    assert "report.html is in the folder of a run" in result.stderr


def write_digits(folder: Path, share: float) -> set[str]:
    """Scikit-learn's digits as class folders, with a share of the labels swapped; returns the names of these files."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    swapped = random.choice(len(labels), round(share * len(labels)), replace=False)
    given = labels.copy()
    given[swapped] = (labels[swapped] + random.integers(1, 10, len(swapped))) % 10
    for number, (image, label) in enumerate(zip(pixels.reshape(-1, 8, 8), given, strict=True)):
        place = folder / str(label) / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9375).astype(np.uint8)).save(place)
    return {f"{number}.png" for number in swapped}


@pytest.mark.slow
def test_swapped_labels_are_found(lit_cnn: Command, tmp_path: Path):
    pytest.importorskip("cleanlab")
    swapped = write_digits(tmp_path / "digits", share=0.02)
    settings = ["--model", "LitLeNet", "--model.variant", "lenet_bn", "--model.lr", "0.05", "--data.image_size", "28"]
    settings += ["--trainer.max_epochs", "6", "--trainer.accelerator", "cpu", "--data.cache_dir", "null", "--name", "own"]
    assert lit_cnn("fit", "--data", "digits", *settings).returncode == 0
    (run,) = (path.parent for path in tmp_path.glob("runs/*/*/own/config.yaml"))
    result = lit_cnn("label-errors", "--run", run, "--folds", "3")
    assert result.returncode == 0, result.stderr
    manifest = json.loads((run / "data.json").read_text(encoding="utf-8"))
    files = [dict(zip(manifest["columns"], row, strict=True)) for row in manifest["files"]]
    tested = {Path(file["path"]).name for file in files if file["split"] == "test"}
    with (run / "label_errors.csv").open(encoding="utf-8") as file:
        found = {Path(row["file"]).name for row in csv.DictReader(file)}
    assert not found & tested
    right = found & (swapped - tested)
    precision, recall = len(right) / len(found), len(right) / len(swapped - tested)
    print(f"precision {precision:.1%}, recall {recall:.1%} of {len(swapped - tested)} swapped labels")
    assert precision > 0.65
    assert recall > 0.8
    again = run_process(tmp_path, "label-errors", "--run", run, "--folds", "2")
    assert not re.search("Seed set|available|Tip|stopped", again.stderr)
    again = lit_cnn("label-errors", "--run", run, "--folds", "3")
    assert again.stdout.count("finished already") == 3
    assert not Run(run).ledger.entries()
