"""Tables of classes and mistakes that an evaluation leaves in its run."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command, run_process
from PIL import Image
from pytorch_lightning import Trainer
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from lit_cnn.runs.folder import Run
from lit_cnn.training.class_scores import ClassScores, Predictions, wilson
from lit_cnn.training.evaluation_files import FILES, PREDICTIONS, remove_evaluation, write_evaluation
from lit_cnn.training.metrics import EvaluationMetrics

FIT = ["fit", "--model", "LitLeNet", "--data", "Digits", "--data.image_size", "28", "--data.batch_size", "256"]
FIT += ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def evaluated(logits: torch.Tensor, labels: torch.Tensor, names: list[str]) -> tuple[dict, Predictions, ClassScores]:
    """What is known after an evaluation in batches of 7."""
    metrics = EvaluationMetrics("test", logits.shape[1])
    metrics.predictions = Predictions()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    for positions in order.split(7):
        metrics.update(logits[positions], labels[positions], positions)
    predictions = metrics.gather_predictions()
    values = metrics.compute()
    return values, predictions, ClassScores(names, np.asarray(metrics.class_counts))


@pytest.fixture
def guesses() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of 60 images of five classes, the fourth without an image, the fifth never predicted."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (60,), generator=generator)
    labels[labels == 3] = 4
    logits = torch.randn(60, 5, generator=generator)
    logits[:, 4] = -9
    return logits, labels


def test_the_tables_are_those_of_scikit_learn(guesses: tuple[torch.Tensor, torch.Tensor], tmp_path: Path):
    logits, labels = guesses
    names = ["ant", "bee", "cat", "dog", "$x_$, \udcff"]
    values, predictions, scores = evaluated(logits, labels, names)
    write_evaluation(tmp_path / "test", predictions, scores, lambda position: f"{position}.png")
    assert {path.name for path in (tmp_path / "test").iterdir()} == set(FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["test"]
    predicted = logits.argmax(dim=1)
    per_class = rows(tmp_path / "test" / "per_class.csv")
    assert [row["class"] for row in per_class] == names
    precision, recall, f1, images = precision_recall_fscore_support(labels, predicted, labels=range(5), zero_division=np.nan)
    for column, expected in (("precision", precision), ("recall", recall), ("images", images)):
        written = [float(row[column] or "nan") for row in per_class]
        assert written == pytest.approx(expected.tolist(), abs=1e-6, nan_ok=True)
    assert [float(row["f1"]) for row in per_class] == pytest.approx(np.nan_to_num(f1).tolist(), abs=1e-6)
    interval = binomtest(round(recall[0] * images[0]), images[0]).proportion_ci(method="wilson")
    assert [float(per_class[0][f"recall_{end}"]) for end in ("low", "high")] == pytest.approx(list(interval), abs=1e-6)
    assert per_class[3]["recall"] == per_class[3]["recall_low"] == per_class[4]["precision"] == ""
    with (tmp_path / "test" / "confusion_matrix.csv").open(newline="", errors="surrogateescape") as file:
        header, *matrix = csv.reader(file)
    assert header[1:] == [row[0] for row in matrix] == names
    assert [[int(cell) for cell in row[1:]] for row in matrix] == confusion_matrix(
        labels, predicted, labels=range(5)
    ).tolist()
    with Image.open(tmp_path / "test" / "confusion_matrix.png") as picture:
        assert picture.width > 300
    mistakes = rows(tmp_path / "test" / "mistakes.csv")
    probabilities = logits.softmax(dim=1)
    assert len(mistakes) == int((labels != predicted).sum())
    for row in mistakes:
        position = int(row["file"].removesuffix(".png"))
        assert (row["true"], row["predicted"]) == (names[labels[position]], names[predicted[position]])
        assert float(row["probability"]) == pytest.approx(float(probabilities[position].max()), abs=1e-6)
        assert float(row["probability_of_true"]) == pytest.approx(float(probabilities[position, labels[position]]), abs=1e-6)
    sure = [float(row["probability"]) for row in mistakes]
    assert sure == sorted(sure, reverse=True)
    # Means are over the classes that occur.
    assert float(values["test/f1"]) == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert scores.balanced_accuracy == pytest.approx(np.nanmean(recall))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert scores.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_intervals_are_those_of_a_published_table():
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", Table I, score method."""
    hits, images = np.array([81, 15, 0, 1, 0]), np.array([263, 148, 20, 29, 0])
    low, high = wilson(hits, images)
    assert low[:4] == pytest.approx([0.2553, 0.0624, 0.0000, 0.0061], abs=5e-5)
    assert high[:4] == pytest.approx([0.3662, 0.1605, 0.1611, 0.1718], abs=5e-5)
    assert np.isnan([low[4], high[4]]).all()


def test_files_are_written_all_or_not_at_all(guesses: tuple[torch.Tensor, torch.Tensor], tmp_path: Path):
    _, predictions, scores = evaluated(*guesses, list("abcde"))
    folder = tmp_path / "test"
    write_evaluation(folder, predictions, scores, str)
    (folder / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(_: int) -> str:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        write_evaluation(folder, predictions, scores, fail)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]
    remove_evaluation(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_matrix_that_cannot_be_drawn_loses_no_table(
    guesses: tuple[torch.Tensor, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr("lit_cnn.training.evaluation_files.draw_confusion", fail)
    _, predictions, scores = evaluated(*guesses, list("abcde"))
    with pytest.warns(UserWarning, match=r"^confusion_matrix\.png cannot be drawn: no font$"):
        write_evaluation(tmp_path / "test", predictions, scores, str)
    assert {path.name for path in (tmp_path / "test").iterdir()} == set(FILES) - {"confusion_matrix.png"}


def test_many_classes_take_no_time(tmp_path: Path):
    num_classes = 20_000
    labels = torch.arange(3000)
    logits = torch.zeros(3000, 2)
    predictions = Predictions()
    predictions.add(logits, labels % 2)
    counts = np.zeros((3, num_classes), dtype=np.int64)
    started = time.perf_counter()
    write_evaluation(tmp_path / "test", predictions, ClassScores(list(map(str, range(num_classes))), counts), str)
    assert time.perf_counter() - started < 3
    assert {path.name for path in (tmp_path / "test").iterdir()} == {"per_class.csv", "mistakes.csv"}


# Unequal classes


def scores_of(hits: list[int], images: list[int], num_training: tuple[int, ...] = ()) -> ClassScores:
    return ClassScores([f"c{number}" for number in range(len(hits))], np.array([hits, hits, images]), num_training)


def test_unequal_classes_get_two_rows():
    assert scores_of([50, 1], [50, 10]).describe("test") == [
        ("test balanced accuracy", "55.00% (mean recall of 2 classes)"),
        ("test recalls", "10.00% (c1, 1 of 10), 100.00% (c0, 50 of 50)"),
    ]
    assert scores_of([50, 1], [50, 10]).describe("test", num_recalls=1)[1] == ("test lowest recall", "10.00% (c1, 1 of 10)")
    assert len(scores_of([5, 5], [5, 5], (300, 100)).describe("test")) == 2
    (balanced, _) = scores_of([9, 0, 1], [9, 0, 2]).describe("validation")
    assert balanced == ("validation balanced accuracy", "75.00% (mean recall of the 2 of 3 classes with images)")
    assert scores_of([0, 0], [0, 0], (9, 1)).describe("test") == []


def test_few_classes_show_the_recall_of_each_and_many_the_lowest_if_it_is_far_below():
    assert scores_of([5, 5], [14, 5]).describe("test") == [("test recalls", "35.71% (c0, 5 of 14), 100.00% (c1, 5 of 5)")]
    assert scores_of([5], [5]).describe("test") == []
    assert scores_of([19, 18, 19, 20, 20, 20], [20] * 6).describe("test") == []
    (row,) = scores_of([17, 19, 18, 20, 20, 20, 12], [20] * 7).describe("test")
    assert row[0] == "test lowest recalls"
    assert row[1].startswith("60.00% (c6, 12 of 20), 85.00% (c0, 17 of 20), 90.00% (c2, 18 of 20), 95.00% (c1, ")
    assert row[1].count("%") == 5


# From commands


def fit(command: Command, *options: str | Path) -> Run:
    done = command(*FIT, *options)
    assert done.returncode == 0, done.stderr
    return Run(next(line.split()[-1] for line in done.stdout.splitlines() if line.startswith("run folder")))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_test_leaves_its_files_in_the_run_and_others_replace_none(lit_cnn: Command):
    run = fit(lit_cnn, "--test_after_fit", "--trainer.max_epochs", "2")
    assert not run.evaluations["val"].exists()
    first = contents(run.path / "test")
    assert first.keys() == set(FILES)
    kept = {split: run.read_predictions(split).logits for split in ("val", "test")}
    assert sum(int(row["images"]) for row in rows(run.path / "test" / "per_class.csv")) == 360
    accuracy = run.read_results()["test/acc"]
    mistakes = rows(run.path / "test" / "mistakes.csv")
    assert len(mistakes) == round((1 - accuracy) * 360)
    assert mistakes[0]["file"].startswith("#")
    shutil.rmtree(run.path / "test")
    assert lit_cnn("test", "--run", run.path).returncode == 0
    assert contents(run.path / "test") == first
    assert lit_cnn("test", "--run", run.path, "--ckpt_path", "last").returncode == 0
    assert lit_cnn("test", "--run", run.path, "--trainer.limit_test_batches", "1").returncode == 0
    assert contents(run.path / "test") == first
    others = sorted(path.name for path in (run.path / "test").iterdir() if path.is_dir())
    assert others == ["digits_180_of_360_images", "last"]
    assert all(contents(run.path / "test" / name).keys() == {*FILES, PREDICTIONS} for name in others)
    run.predictions["val"].unlink()
    assert lit_cnn("validate", "--run", run.path).returncode == 0
    assert contents(run.path / "validation").keys() == set(FILES)
    for split, logits in kept.items():
        np.testing.assert_allclose(run.read_predictions(split).logits, logits, atol=1e-5)
    assert len(run.ledger) == 4


def test_unequal_photos_are_said_at_the_end(lit_cnn: Command, tmp_path: Path):
    random = np.random.default_rng(0)
    for name, number in (("ant", 60), ("bee", 12)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(number):
            pixels = random.integers(0, 256, (28, 28, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"$_{index}_$.png")
    options = ["--model", "LitLeNet", "--data", "photos", "--data.image_size", "28", "--data.cache_dir", "null"]
    done = lit_cnn("fit", *options, "--trainer.max_epochs", "1", "--test_after_fit")
    assert (done.returncode, done.stderr) == (0, "")
    for split in ("validation", "test"):
        assert f"{split} balanced accuracy" in done.stdout
    assert "validation lowest recall  " in done.stdout
    assert "test recalls  " in done.stdout


def test_tables_that_cannot_be_written_end_no_test(lit_cnn: Command):
    run = fit(lit_cnn)
    (run.path / "test").write_text("in the way")
    with pytest.warns(UserWarning, match=f"^the files of the evaluation are not all written into {run.path}: "):
        done = lit_cnn("test", "--run", run.path)
    assert done.returncode == 0
    assert "test accuracy" in done.stdout
    assert len(run.ledger) == 1
    assert not list(run.path.glob("*.partial"))


@pytest.mark.slow
def test_several_processes_write_each_image_once(lit_cnn: Command, tmp_path: Path):
    run = fit(lit_cnn, "--test_after_fit", "--trainer.precision", "32-true")
    alone = {name: content for name, content in contents(run.path / "test").items() if name.endswith("x.csv")}
    done = run_process(tmp_path, "test", "--run", run.path, "--trainer.devices", "2")
    assert done.returncode == 0, done.stderr
    assert sum(int(row["images"]) for row in rows(run.path / "test" / "per_class.csv")) == 360
    assert alone.items() <= contents(run.path / "test").items()


def test_a_trainer_of_ones_own_leaves_the_files_too(lit_cnn: Command, trainer: Callable[..., Trainer]):
    from lit_cnn import Digits, load_run

    run = fit(lit_cnn)
    model = load_run(run.best, device="cpu").classifier
    trainer().test(model, datamodule=Digits(image_size=28, batch_size=256, seed=0), verbose=False)
    assert contents(run.path / "test").keys() == set(FILES)
