"""What a report reads of a run, and what it says of damaged files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import write_predictions, write_run
from html_pages import check_page

from lit_cnn.analysis.facts import RunFacts, scored_images
from lit_cnn.analysis.report import write_report
from lit_cnn.runs.folder import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = write_run(tmp_path / "runs" / "digits" / "lenet" / "a")
    for split in ("val", "test"):
        write_predictions(run, np.arange(40) % 3 > 0, split)
    run.ledger.path.write_text('{"data": "digits", "run": "a", "test/acc": 0.5, "test/images": 40}\n')
    return run


def test_the_facts_are_those_of_the_files(run: Run):
    facts = RunFacts.read(run)
    assert facts.is_tested
    assert facts.is_finished
    assert facts.diverged is None
    assert facts.num_images == {"train": 100, "val": 40, "test": 40}


def test_test_scores_of_another_checkpoint_than_the_files_are_not_shown(run: Run):
    run.checkpoints.mkdir()
    for path in (run.best, run.last):
        path.touch()
    run.add_results({"test/acc": 0.123, "test/checkpoint": "checkpoints/last.ckpt"})
    facts = RunFacts.read(run)
    assert not facts.is_tested
    assert scored_images(facts).split == "val"
    words = " ".join(check_page(write_report(run)).text.split())
    assert "12.3" not in words.split("Ledger")[0]
    assert "of the validation images, on which its checkpoint was chosen" in words
    assert (
        f"The test scores are of checkpoints/last.ckpt: lit-cnn test --run {run.path} tests checkpoints/best.ckpt." in words
    )
    run.add_results({"test/checkpoint": "checkpoints/best.ckpt"})
    assert scored_images(RunFacts.read(run)).split == "test"


@pytest.mark.parametrize(
    ("monitor", "epochs", "interval", "is_chosen"),
    [
        ("val/acc", 2, None, True),
        ("val/acc", 1, 1.0, False),
        ("val/acc", 1, 0.25, True),
        ("val/acc", 1, 5, True),
        ("last", 2, None, False),
    ],
)
def test_a_checkpoint_is_chosen_by_the_scores_of_several_validations(
    tmp_path: Path, monitor: str, epochs: int, interval: float | None, is_chosen: bool
):
    settings = {"monitor": monitor, "trainer.val_check_interval": interval}
    run = write_run(tmp_path / "a", epochs=epochs, settings=settings)
    run.results.write_text(json.dumps({k: v for k, v in run.read_results().items() if not k.startswith("test/")}))
    assert ("on which its checkpoint was chosen" in write_report(run)) is is_chosen


@pytest.mark.parametrize(
    ("limit", "results", "words"),
    [
        (None, {}, "80.0 % (95 % interval 65.2 to 89.5 %) of the validation images"),
        (1.0, {}, "80.0 % (95 % interval 65.2 to 89.5 %) of the validation images"),
        (0.25, {"val/images": 10}, "80.0 % (95 % interval 49.0 to 94.3 %) of 10 validation images"),
        (1, {}, "80.0 % of an unknown number of validation images"),  # a run of an earlier version
    ],
)
def test_the_interval_of_the_validation_is_over_the_images_that_it_saw(
    tmp_path: Path, limit: float | None, results: dict[str, Any], words: str
):
    run = write_run(tmp_path / "a", accuracy=0.8, settings={"trainer.limit_val_batches": limit}, results=results)
    run.results.write_text(json.dumps({k: v for k, v in run.read_results().items() if not k.startswith("test/")}))
    assert f"It recognises {words}, on which its checkpoint was chosen." in write_report(run)


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        ("results.json", "val/acc", "x"),
        ("results.json", "val/acc", True),
        ("results.json", "test/acc", None),
        ("results.json", "test/acc", 1.5),
        ("results.json", "test/acc", float("nan")),
        ("results.json", "seconds", float("inf")),
        ("results.json", "train/images_per_s", []),
        ("results.json", "test/images", {}),
        ("results.json", "test/images", -1),
        ("results.json", "val/images", 1.5),
        ("results.json", "test/digest", {"a": 1}),
        ("data.json", "counts", None),
        ("data.json", "counts", [100, 40]),
        ("data.json", "counts", {"val": "many"}),
        ("data.json", "counts", {"val": 1.5}),
        ("data.json", "classes", "ant"),
        ("data.json", "classes", [1, 2]),
        ("data.json", "digest", 7),
        ("data.json", "channels", None),
        ("environment.json", "packages", []),
        ("environment.json", "earlier", {"time": 1}),
        ("environment.json", "dataset", ["digits"]),
    ],
)
def test_a_value_that_cannot_be_is_named(run: Run, file: str, name: str, value: Any):
    path = run.path / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(ValueError, match=rf"^{path} is damaged: {name} is ") as error:
        write_report(run)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(("file", "name"), [("data.json", "classes"), ("results.json", "test/images")])
def test_a_missing_value_is_named(run: Run, file: str, name: str):
    path = run.path / file
    content = json.loads(path.read_text())
    del content[name]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"^{path} is damaged: it has no {name}$"):
        write_report(run)


@pytest.mark.parametrize(
    "content", ["", "true,a,b\n", "true,a,b\na,1\nb,2,3\n", "true,a\na,x\n", "true,a\na,-1\n", "true,a\na,0\n"]
)
def test_a_damaged_table_of_classes_is_named(run: Run, content: str):
    for path in run.predictions.values():
        path.unlink()
    table = run.evaluation_folder("test") / "confusion_matrix.csv"
    table.parent.mkdir()
    table.write_text(content)
    with pytest.raises(ValueError, match=rf"^{table} is damaged \(.*\): evaluate the run again$"):
        scored_images(RunFacts.read(run))


def test_metrics_without_a_usable_column_are_told(run: Run):
    run.metrics.write_text("a,b\n1,2\n")
    assert f"Not shown: {run.metrics} has no column that can be drawn" in write_report(run)
    run.metrics.write_bytes(b"epoch,lr\n\xff,1\n")
    with pytest.raises(ValueError, match=rf"^{run.metrics} is damaged"):
        write_report(run)


def test_a_run_that_diverged_is_marked(run: Run):
    run.results.write_text(json.dumps({"diverged": "the training loss is nan in epoch 2, batch 3: <start> a new run"}))
    text = write_report(run)
    assert (
        "The training of this run diverged: the training loss is nan in epoch 2, batch 3: &lt;start&gt; a new run." in text
    )
    assert "lit-cnn resume" not in text.split('id="curves"')[0].split('id="summary"')[1]


@pytest.mark.slow
def test_whatever_is_damaged_is_one_line_or_a_page(run: Run):
    files = ("results.json", "data.json", "environment.json", "config.yaml", "metrics.csv", "ledger.jsonl")
    values = (None, "x", -1, 0, 1.5, 1e400, True, [], {}, [1], {"a": 1}, 10**30, "<b>")
    chance = random.Random(0)
    for _ in range(150):
        path = run.path / chance.choice(files)
        content = path.read_bytes()
        if path.suffix == ".json" and chance.random() < 0.7:
            changed = json.loads(content)
            changed[chance.choice(list(changed))] = chance.choice(values)
            path.write_text(json.dumps(changed))
        else:
            path.write_bytes(content[: chance.randrange(len(content))])
        try:
            message = f"{path}\n" * ("Not shown: ." not in write_report(Run.open(run.path), num_images=1))
        except ValueError as error:
            message = str(error)
        assert str(path) in message
        assert len(message.splitlines()) == 1
        path.write_bytes(content)
