"""Which arms cannot be compared, and what is told of those that can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import all_but, write_predictions, write_run

from lit_cnn.analysis.arms import read_arms
from lit_cnn.analysis.comparison import compare


def refusal(*folders: Path, **options: Any) -> str:
    with pytest.raises(ValueError, match=r".") as refused:
        compare(read_arms(folders), **options)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"data": {"digest": "f" * 32}}, "their images or their labels differ (digits and digits; digests d1d1d1d1 and "),
        ({"results": {"test/digest": "f" * 32}}, "their test images or their labels differ"),
        ({"data": {"classes": ["bee", "ant"]}}, "their classes are in another order"),
        ({"data": {"classes": ["ant", "cat", "dog"]}}, "their classes differ (2 and 3 classes; only one has 'bee')"),
    ],
)
def test_other_data_are_refused(tmp_path: Path, other: dict[str, Any], message: str):
    paths = [write_run(tmp_path / "a").path, write_run(tmp_path / "b", **other).path]
    assert f"{paths[0]} and {paths[1]} cannot be compared: {message}" in refusal(*paths)


def test_another_split_is_refused(tmp_path: Path):
    a = write_run(tmp_path / "a")
    b = write_run(tmp_path / "b", settings={"data.val_fraction": 0.2})
    assert "the arms have other validation images, because data.val_fraction differs" in refusal(a.path, b.path, split="val")
    assert compare(read_arms([a.path, b.path])).split == "test"
    c = write_run(tmp_path / "c")
    write_predictions(a, all_but(1), "val")
    write_predictions(c, all_but(1), "val", [f"other {number}" for number in range(40)])
    assert "their val predictions are for other images" in refusal(a.path, c.path, split="val")


def test_other_numbers_of_validation_images_are_refused(tmp_path: Path):
    paths = [write_run(tmp_path / str(number), results={"val/images": number}).path for number in (58, 96)]
    assert "they were validated with 58 and 96 images; validate all runs" in refusal(*paths, split="val")


def test_what_was_not_measured_names_the_command(tmp_path: Path):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", accuracy=0.6)
    b.results.write_text('{"val/acc": 0.6, "seconds": 3}', encoding="utf-8")
    assert compare(read_arms([a.path, b.path])).split == "val"
    message = refusal(a.path, b.path, split="test")
    assert message == f"{b.path} has no test/acc: measure it with lit-cnn test --run {b.path}"
    assert "has no val/f1" in refusal(a.path, b.path, split="val", metric="f1")
    assert compare(read_arms([a.path, b.path]), metric="loss").arms[0].values == (1.0,)


def test_a_run_that_diverged_is_named(tmp_path: Path):
    a, b = write_run(tmp_path / "a", results={"test/loss": 0.5}), write_run(tmp_path / "b", results={"test/loss": np.nan})
    message = refusal(a.path, b.path, metric="loss")
    assert message == f"{b.path} has a test/loss of nan: its training diverged; leave it out, or train it again"


def test_arguments_out_of_range_are_refused(tmp_path: Path):
    a, b = write_run(tmp_path / "a").path, write_run(tmp_path / "b").path
    assert refusal(a) == "a comparison needs at least two arms, got 1"
    assert refusal(a, b, margin=0) == "margin must be positive, got 0"
    assert refusal(a, b, differ=["model.lr"]) == "the arms do not differ in model.lr; they differ in no setting"


@pytest.mark.parametrize(("name", "value"), [("data.manifest", "runs/a/data.json"), ("trainer.limit_val_batches", 3)])
def test_other_validation_images_by_setting_are_refused(tmp_path: Path, name: str, value: Any):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", settings={name: value})
    assert f"the arms have other validation images, because {name} differs" in refusal(a.path, b.path, split="val")


def test_the_manifest_of_another_run_gives_the_same_images(tmp_path: Path):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", settings={"data.manifest": "runs/a/data.json"})
    for run in (a, b):
        write_predictions(run, all_but(1), "val", digest="d1" * 16)
    assert compare(read_arms([a.path, b.path]), split="val").pairs[0].images.num_images == 40
    write_predictions(b, all_but(1), "val", [f"other {number}" for number in range(40)], digest="d1" * 16)
    assert "their val predictions are for other images" in refusal(a.path, b.path, split="val")


@pytest.mark.parametrize("metric", ["acc", "loss"])
def test_predictions_for_other_images_are_refused_for_each_metric(tmp_path: Path, metric: str):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    write_predictions(a, all_but(1), "val")
    write_predictions(b, all_but(1), "val", [f"other {number}" for number in range(40)])
    assert "their val predictions are for other images" in refusal(a.path, b.path, split="val", metric=metric)


def test_unknown_digests_need_the_same_dataset_and_are_told(tmp_path: Path):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", data={"digest": None})
    c = write_run(tmp_path / "c", data={"digest": None, "dataset": "mnist"})
    assert compare(read_arms([a.path, b.path])).notes[0] == (
        f"{b.path} has no digest of its images or their labels: the name of the dataset alone tells that they are the same"
    )
    assert "their datasets differ (digits and mnist)" in refusal(a.path, c.path)


def test_the_test_scores_of_the_last_checkpoint_are_not_compared_with_those_of_the_best(tmp_path: Path):
    a, b = (write_run(tmp_path / name, results={"test/checkpoint": "checkpoints/last.ckpt"}) for name in "ab")
    for run, names in ((a, ["last"]), (b, ["last", "best"])):
        run.checkpoints.mkdir()
        for name in names:
            (run.checkpoints / f"{name}.ckpt").touch()
    assert refusal(a.path, b.path) == (
        f"the test scores of {b.path} are of checkpoints/last.ckpt, not of checkpoints/best.ckpt: "
        f"test that one with lit-cnn test --run {b.path}"
    )
