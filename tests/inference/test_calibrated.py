"""Calibrated predictions: of a run that was trained for a moment, in Python and on the command line."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from PIL import Image

from lit_cnn.__main__ import main
from lit_cnn.inference.calibrated import calibrate, confidence_of_checkpoint
from lit_cnn.inference.confidence import assess
from lit_cnn.inference.loading import load_run
from lit_cnn.inference.predict import Prediction
from lit_cnn.inference.temperature import softmax
from lit_cnn.runs.folder import Run

FIT = ["fit", "--model", "LitLeNet", "--data", "digits", "--data.image_size", "28", "--trainer.max_epochs", "1"]
FIT += ["--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--data.batch_size", "256", "--name", "own"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("calibrated")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        patch.setattr(sys, "argv", ["lit-cnn", *FIT])
        assert main() == 0
    (config,) = folder.glob("runs/*/*/own/config.yaml")
    return Run(config.parent)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    (tmp_path / "new").mkdir()
    for number in range(5):
        Image.fromarray(random.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / "new" / f"{number}.png")
    return tmp_path / "new"


def test_a_training_keeps_how_sure_the_network_may_be(run: Run):
    kept = json.loads(run.confidence.read_text(encoding="utf-8"))
    predictions = run.read_predictions("val")
    assert kept["checkpoint"] == "checkpoints/best.ckpt"
    assert kept["num_images"] == len(predictions)
    assert kept["temperature"] == assess(predictions.logits, predictions.labels).temperature


def test_probabilities_are_those_at_the_temperature(run: Run, images: Path):
    trained, found = load_run(run.path, device="cpu"), confidence_of_checkpoint(str(run.best))
    plain, calibrated = trained.predict(images), trained.predict(images, calibrated=True)
    for one, other in zip(plain, calibrated, strict=True):
        assert other.values == pytest.approx(softmax(one.logits[None], found.temperature)[0], abs=1e-6)
        assert one.likely is None
        assert other.class_name == one.class_name
        assert other.likely is not None
        assert other.likely[0] == other.class_name
        assert not other.values.flags.writeable


def test_columns_of_the_command(lit_cnn: Command, run: Run, images: Path, tmp_path: Path):
    result = lit_cnn("predict", "--run", run.path, "--images", images, "--calibrated", "--output", "p.csv")
    assert result.returncode == 0, result.stderr
    expected = load_run(run.path, device="cpu").predict(images, calibrated=True)
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [one.likely for one in expected] != [(one.class_name,) for one in expected]
    assert [row["set_90"].split(" | ") for row in rows] == [list(one.likely) for one in expected]
    result = lit_cnn("predict", "--run", run.path, "--images", images, "--calibrated", "--output", "p.jsonl")
    lines = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["set_90"] for line in lines] == [list(one.likely) for one in expected]
    assert [float(row["probability"]) for row in rows] == pytest.approx([one.probability for one in expected], abs=1e-5)


def test_predictions_of_an_earlier_step_are_refused(run: Run, tmp_path: Path):
    own = Run(shutil.copytree(run.path, tmp_path / "own"))
    predictions = own.read_predictions("val")
    assert confidence_of_checkpoint(str(own.best)).step == predictions.step
    replace(predictions, step=predictions.step - 1).write(own.predictions["val"])
    with pytest.raises(ValueError, match=rf"best\.ckpt is of step {predictions.step}: write them with lit-cnn validate"):
        confidence_of_checkpoint(str(own.best))
    replace(predictions, step=None).write(own.predictions["val"])  # of an earlier version
    assert confidence_of_checkpoint(str(own.best)).step is None


def test_the_set_of_a_prediction_begins_with_the_likeliest():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 300)
    logits = (random.normal(size=(300, 3)) + 2 * np.eye(3)[labels]).astype(np.float32)
    found = assess(logits, labels)
    prediction = Prediction(("a", "b", "c"), softmax(logits)[0].astype(np.float32), np.float32([0.1, 0.3, -9.0]))
    assert calibrate(prediction, found).likely == ("b", "a")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tta"], "--calibrated was measured without --tta"),
        (["--ckpt_path"], "is no checkpoint of one"),
        (["--last"], "not of"),
        (["--without"], "has no val predictions: write them with lit-cnn validate --run"),
    ],
)
def test_refusals_are_a_line(lit_cnn: Command, run: Run, images: Path, tmp_path: Path, options: list[str], message: str):
    source: list[str | Path] = ["--run", run.path]
    if options == ["--ckpt_path"]:
        (tmp_path / "alone.ckpt").write_bytes(run.best.read_bytes())
        source, options = ["--ckpt_path", tmp_path / "alone.ckpt"], []
    elif options == ["--last"]:
        source, options = ["--ckpt_path", run.last], []
    elif options == ["--without"]:
        kept, options = run.predictions["val"], []
        kept.rename(kept.with_suffix(".kept"))
    result = lit_cnn("predict", *source, "--images", images, "--calibrated", "--output", "p.csv", *options)
    kept = run.predictions["val"].with_suffix(".kept")
    if kept.exists():
        kept.rename(run.predictions["val"])
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
