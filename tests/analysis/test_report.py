"""The report of a run: what it shows, and what it says where something is missing."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import write_photos
from html_pages import check_page

from lit_cnn.__main__ import main
from lit_cnn.analysis.facts import RunFacts
from lit_cnn.analysis.page import short
from lit_cnn.analysis.report import write_report
from lit_cnn.analysis.run_images import images_of
from lit_cnn.runs.folder import Run
from lit_cnn.runs.predictions import RunPredictions

FIT = ["fit", "--model", "LitLeNet", "--data.image_size", "28", "--trainer.max_epochs", "3", "--test_after_fit"]
FIT += ["--trainer.precision", "32-true", "--trainer.accelerator", "cpu", "--name", "first", "--model.lr", "0.05"]
SECTIONS = ["summary", "curves", "calibration", "confusion", "classes", "confidence", "worst", "uncertain"]
SECTIONS += ["maps", "data", "speed", "layers", "settings", "environment", "ledger"]
SCRIPT, QUOTE, RIGHT_TO_LEFT = "<script>alert(1)<", '"><img src=x onerror=alert(1)>.png', "ש\u202e$x$"


def train(folder: Path, *options: str) -> Run:
    """Trains for seconds in this process, with predictions of both splits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        patch.setattr(sys, "argv", ["lit-cnn", *FIT, *options])
        assert main() == 0
    (run,) = (Run(path.parent) for path in (folder / "runs").glob("*/*/first/config.yaml"))
    return run


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tested run on photos, whose names are what names can be."""
    folder = tmp_path_factory.mktemp("tested")
    write_photos(folder / "photos", (SCRIPT, RIGHT_TO_LEFT), 40)
    for number, path in enumerate(sorted((folder / "photos" / SCRIPT).iterdir())):
        path.rename(path.with_name(f"{number}{QUOTE}"))
    for number, path in enumerate(sorted((folder / "photos" / RIGHT_TO_LEFT).iterdir())):
        path.rename(path.with_name(os.fsdecode(b"\xff%d.png" % number)))
    return train(folder, "--data", str(folder / "photos"), "--data.cache_dir", "null", "--data.num_workers", "0")


@pytest.fixture(scope="module")
def text(tested: Run) -> str:
    """Its report."""
    return write_report(tested, num_images=3)


@pytest.fixture
def run(tested: Run, tmp_path: Path) -> Run:
    """A copy of it, to be damaged."""
    shutil.copytree(tested.path, tmp_path / "runs" / "photos" / "lenet" / "copy")
    return Run(tmp_path / "runs" / "photos" / "lenet" / "copy")


def sections(text: str) -> dict[str, str]:
    """The words of each section."""
    parts = text.split("<section ")[1:]
    return {part.split('id="')[1].split('"')[0]: " ".join(part.split()) for part in parts}


def test_a_tested_run_has_all_sections(text: str):
    page = check_page(text)
    assert list(sections(text)) == SECTIONS
    assert [name for name, part in sections(text).items() if 'class="missing"' in part] == ["confidence"]
    assert "validation images, and at least 50 show how sure" in sections(text)["confidence"]
    assert 'class="notice"' not in text
    assert len(text.encode()) < 500_000
    # Curves and the reliability diagram; three images of either sort, and maps beside theirs.
    assert page.tags.count("svg") == 5
    assert sections(text)["worst"].count("<img") == sections(text)["uncertain"].count("<img") == 3
    assert sections(text)["maps"].count("<img") >= 4
    assert "features.0" in sections(text)["layers"]
    assert "checkpoints/best.ckpt" in sections(text)["ledger"]


def test_what_is_said_is_what_the_evaluation_measured(tested: Run, text: str):
    results, words = tested.read_results(), check_page(text).text
    assert f"{100 * results['test/acc']:.2f} %" in words
    low, high = 100 * results["test/acc_low"], 100 * results["test/acc_high"]
    assert f"(95 % interval {low:.1f} to {high:.1f} %) of {results['test/images']:.0f} test images." in words
    assert f"The expected calibration error is {100 * results['test/ece']:.1f} points." in words
    assert "The test images were looked at once by this run, and once by all runs beside it." in words
    assert results["test/digest"] in words


def test_names_of_classes_and_files_are_never_markup(text: str):
    words = check_page(text).text
    assert SCRIPT in words
    assert "&lt;script&gt;alert(1)&lt;" in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text or "\\udcff" in words
    assert "ש\\u202e$x$" in words
    text.encode()  # there are no halves of characters


@pytest.mark.usefixtures("text")
def test_writing_a_report_looks_at_nothing_and_writes_nothing(tested: Run):
    assert len(tested.ledger) == 1
    assert not list(tested.path.glob("*.html"))


@pytest.mark.parametrize("number", [-1, 51])
def test_the_number_of_images_has_bounds(tested: Run, number: int):
    with pytest.raises(ValueError, match=f"must be from 0 to 50, got {number}"):
        write_report(tested, num_images=number)


def test_a_run_that_was_not_tested_shows_no_test_image(run: Run):
    kept = {name: value for name, value in run.read_results().items() if not name.startswith("test/")}
    run.results.write_text(json.dumps(kept), encoding="utf-8")
    text = write_report(run)
    assert "It was not tested: lit-cnn test --run" in text
    assert "The validation images with the highest loss" in text
    names = {short(Path(name).name) for name in run.read_predictions("val").images}
    shown = re.findall(r"<small><bdi>(.*?)</bdi></small> *</figcaption>", sections(text)["worst"])
    assert shown
    assert {html.unescape(name) for name in shown} <= names


@pytest.mark.parametrize("without", [pytest.param("val", marks=pytest.mark.slow), "both"])
def test_without_predictions_the_tables_of_the_evaluation_are_shown(run: Run, without: str):
    run.predictions["test"].unlink()
    if without == "both":
        run.predictions["val"].unlink()
    text = sections(write_report(run))
    if without == "val":
        assert "Of the validation images" in text["classes"]
        assert "missing" not in text["worst"]
    else:
        assert "Of the test images" in text["classes"]
        for name in ("calibration", "worst", "uncertain", "maps"):
            assert f"lit-cnn validate --run {run.path}" in text[name]


def test_an_unfinished_run_is_marked_and_shows_what_there_is(run: Run):
    shutil.rmtree(run.path / "test")
    shutil.rmtree(run.path / "predictions")
    run.results.unlink()
    run.ledger.path.unlink()
    text = write_report(run)
    check_page(text)
    assert f"This run is unfinished: its training did not come to its end. <code>lit-cnn resume {run.path}</code>" in text
    parts = sections(text)
    assert "svg" in parts["curves"]
    assert f"lit-cnn validate --run {run.path}" in parts["confusion"]
    assert f"lit-cnn resume {run.path}" in parts["speed"]
    assert "It was neither validated nor tested." in parts["summary"]
    assert "The ledger is empty" in parts["ledger"]


def test_a_run_that_was_resumed_and_interrupted_is_unfinished(run: Run):
    rows = run.read_metrics()
    assert RunFacts.read(run).is_finished
    run.write_metrics([*rows, {**rows[-1], "epoch": "3", "seconds": str(float(rows[-1]["seconds"]) + 5)}])
    assert not RunFacts.read(run).is_finished


def test_a_run_without_an_epoch_and_without_a_checkpoint_has_a_page(run: Run):
    for path in (run.metrics, run.results, run.path / "data.json"):
        path.unlink()
    for folder in ("predictions", "checkpoints", "test"):
        shutil.rmtree(run.path / folder)
    text = sections(write_report(run))
    assert f"lit-cnn resume {run.path}" in text["curves"]
    assert "there is no checkpoint" in text["layers"]
    assert "data.json" in text["data"]


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_its_sections_alone(run: Run):
    run.best.write_bytes(run.best.read_bytes()[:1000])
    run.last.write_bytes(b"")
    text = sections(write_report(run))
    assert "Not shown:" in text["layers"]
    assert "Not shown:" in text["maps"]
    assert "Not shown:" not in text["worst"]


def test_without_the_images_one_sentence_is_shown_instead(run: Run):
    config = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    config["data"] = {"class_path": "lit_cnn.MNIST", "init_args": {"data_dir": "nowhere"}}
    run.config.write_text(yaml.dump(config), encoding="utf-8")
    text = sections(write_report(run))
    for name in ("worst", "uncertain", "maps"):
        assert "Not shown: the images of mnist are not there" in text[name]
    assert "svg" in text["calibration"]


@pytest.mark.parametrize("content", ["{", "3"])
@pytest.mark.parametrize("name", ["results.json", "config.yaml", "data.json"])
def test_a_damaged_file_is_named(run: Run, name: str, content: str):
    (run.path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=name):
        write_report(run)


@pytest.mark.slow
def test_many_classes_are_a_picture_and_a_list_of_the_worst(run: Run):
    num_classes, names = 300, [f"class {'x' * 200} {number}" for number in range(300)]
    labels = np.arange(3000) % num_classes
    logits = np.random.default_rng(0).normal(size=(3000, num_classes)).astype(np.float32)
    logits[np.arange(3000), labels] += 3
    RunPredictions([f"#{number}" for number in labels], labels, logits, names).write(run.predictions["test"])
    text = write_report(run)
    check_page(text)
    assert len(text.encode()) < 3_000_000
    assert '<img class="map"' in sections(text)["confusion"]
    assert "The 200 classes with the lowest recall of 300" in sections(text)["classes"]
    assert "other images now" in sections(text)["worst"]


def test_images_of_another_dataset_are_not_shown_as_those_of_the_predictions(run: Run):
    predictions = run.read_predictions("test")
    with pytest.raises(ValueError, match="other images"):
        images_of(run, "val", predictions)


def test_a_report_shows_how_sure_the_network_is(run: Run):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 1000)
    logits = np.where(np.arange(2) == labels[:, None], 8.0, 0.0) * (random.random((1000, 1)) < 0.9) + random.normal(
        size=(1000, 2)
    )
    names = [f"#{number}" for number in range(1000)]
    kept = run.read_predictions("val")
    RunPredictions(
        names, labels, 3 * logits.astype(np.float32), kept.class_names, kept.digest, "checkpoints/best.ckpt"
    ).write(run.predictions["val"])
    part = sections(write_report(run, num_images=0))["confidence"]
    assert "the network is over-confident" in part
    assert "Of the answers with a calibrated probability above" in part
    assert part.count("<svg") == 2
    assert run.confidence.is_file()
