"""How sure a run may be: what is measured, kept, renewed and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_run

from lit_cnn.inference.confidence import Confidence, assess, confidence_of, keep_confidence
from lit_cnn.inference.temperature import fit_temperature, softmax
from lit_cnn.runs.folder import DIVERGED, Run
from lit_cnn.runs.predictions import RunPredictions


def draw(number: int, temperature: float = 2.0, scale: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of an over-confident network, and labels from its true probabilities."""
    random = np.random.default_rng(0)
    true = scale * random.normal(size=(number, 4))
    labels = (random.random((number, 1)) > softmax(true).cumsum(axis=1)).sum(axis=1).clip(max=3)
    return (temperature * true).astype(np.float32), labels


def write(run: Run, logits: np.ndarray, labels: np.ndarray) -> None:
    names = [f"#{number}" for number in range(len(labels))]
    RunPredictions(names, labels, logits, "abcd", "d1" * 16, "checkpoints/best.ckpt").write(run.predictions["val"])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = write_run(tmp_path / "run")
    write(run, *draw(400))
    return run


def test_an_over_confident_network_gets_truer():
    found = assess(*draw(2000))
    assert found.temperature == pytest.approx(2, rel=0.1)
    assert found.log_loss_after < found.log_loss_before
    assert found.error_before.low > found.error_after.high
    assert found.error_after.value < 0.03
    for sets in found.sets:
        assert sets.coverage.low <= sets.level + 0.005
        assert sets.coverage.high >= sets.level
        assert sum(sets.sizes) == pytest.approx(1)
        assert 1 <= sets.mean_size <= 4
    assert found.sets[0].mean_size < found.sets[1].mean_size


def test_sure_answers_are_right():
    found = assess(*draw(4000, scale=8.0))
    assert found.sure is not None
    assert found.reason == ""
    assert found.sure.threshold.low >= 0.99
    assert found.sure.accuracy is not None
    assert found.sure.accuracy.high >= 0.99
    assert found.sure.coverage.value == pytest.approx(found.sure.threshold.num_accepted / 4000, abs=0.1)


def test_too_few_images_for_99_percent_have_a_reason():
    found = assess(*draw(400, scale=8.0))
    assert found.sure is None
    assert found.reason == "there are 400 validation images, and at least 597 are needed to show it"


def test_equally_sure_images_are_counted_together():
    labels = np.arange(1000) % 2
    answers = np.where(np.arange(1000) < 30, 1 - labels, labels)
    found = assess(8 * np.eye(2, dtype=np.float32)[answers], labels)
    assert found.sure is None
    assert found.reason == "of the 1,000 surest validation images, 970 are recognised, too few to show it"


def test_calibrated_probabilities_of_one_image_and_of_many():
    logits, labels = draw(400)
    found = assess(logits, labels)
    assert found.temperature == fit_temperature(logits, labels)
    assert found.calibrate(logits) == pytest.approx(softmax(logits / found.temperature))
    assert found.calibrate(logits[7]) == pytest.approx(found.calibrate(logits)[7])
    sets = found.sets_of(found.calibrate(logits), 0.95)
    assert sets[np.arange(400), labels].mean() >= 0.95
    with pytest.raises(ValueError, match=r"at 90% and 95%, not at 0\.5"):
        found.sets_of(found.calibrate(logits), 0.5)


@pytest.mark.parametrize(
    ("logits", "labels", "reason"),
    [
        (*draw(49), "there are 49 validation images"),
        (np.zeros((60, 3), np.float32), np.zeros(60, dtype=int), "of one class"),
        (np.full((60, 2), np.nan, np.float32), np.arange(60) % 2, "not finite"),
    ],
)
def test_refusals(logits: np.ndarray, labels: np.ndarray, reason: str):
    with pytest.raises(ValueError, match=reason):
        assess(logits, labels)


def test_it_is_kept_with_the_run(run: Run):
    keep_confidence(run)
    content = json.loads(run.confidence.read_text(encoding="utf-8"))
    assert content["checkpoint"] == "checkpoints/best.ckpt"
    written = run.confidence.stat().st_mtime_ns
    found = confidence_of(run)
    assert run.confidence.stat().st_mtime_ns == written  # it is read, not made again
    assert found.temperature == content["temperature"]
    assert found == confidence_of(run)
    assert isinstance(found, Confidence)


def test_later_predictions_and_damage_make_it_anew(run: Run):
    first = confidence_of(run)
    write(run, *draw(500))
    assert confidence_of(run).num_images == 500
    assert first.num_images == 400
    for text in ("{", "[]", '{"format": 1}'):
        run.confidence.write_text(text, encoding="utf-8")
        assert confidence_of(run).num_images == 500


def test_a_run_without_predictions_names_the_command(run: Run):
    keep_confidence(run)
    run.predictions["val"].unlink()
    with pytest.raises(ValueError, match="has no val predictions: write them with lit-cnn validate --run"):
        confidence_of(run)


def test_a_training_leaves_no_file_where_there_is_a_reason(run: Run):
    keep_confidence(run)
    write(run, *draw(20))
    keep_confidence(run)
    assert not run.confidence.exists()
    run.add_results({DIVERGED: "the loss is nan"})
    with pytest.raises(ValueError, match="diverged"):
        confidence_of(run)


def test_a_folder_that_cannot_be_written_is_no_error(run: Run, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr("lit_cnn.inference.confidence.write_object", refuse)
    assert confidence_of(run).num_images == 400
    assert not run.confidence.exists()
