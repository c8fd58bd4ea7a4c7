"""Running a study: what is trained, what is kept, what stops it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from claim_files import CONTENT, entry, in_this_process, study_of, write_claim
from filelock import FileLock

from lit_cnn.claims import run as running
from lit_cnn.claims.cells import STUDY, TUNE, Cell
from lit_cnn.claims.design import Study
from lit_cnn.claims.results import Results
from lit_cnn.claims.run import check_runnable, run, run_quickly
from lit_cnn.claims.study import Claim, find_claim
from lit_cnn.claims.verdict import Verdict
from lit_cnn.runs.ledger import ImageSet, Ledger

HERE = Path()
Train = Callable[[Study, Cell, Path], dict[str, Any]]


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    return write_claim(tmp_path)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """The cells that are trained, each in no time."""
    cells: list[Cell] = []

    def train(_: Study, cell: Cell, __: Path) -> dict[str, Any]:
        cells.append(cell)
        return entry(50 + (9 + cell.seed / 10) * (cell.arm == "batch") + cell.seed + cell.rate)

    replace_training(monkeypatch, train)
    return cells


def replace_training(monkeypatch: pytest.MonkeyPatch, train: Train) -> None:
    monkeypatch.setattr(running, "run_cell", train)
    monkeypatch.setattr(running, "start_workers", in_this_process)


def silent(_: str) -> None:
    pass


def run_claim(claim: Claim, tmp_path: Path, **arguments: Any) -> Results:
    results = Results.read(tmp_path, claim)
    run(results, HERE, 1, silent, **arguments)
    return results


# The order of work


def test_what_a_training_gives_is_reported(claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def train(_: Study, cell: Cell, __: Path) -> dict[str, Any]:
        return entry(None, diverged=cell.rate == 0.1) if cell.arm == "batch" else entry(cell.rate)

    replace_training(monkeypatch, train)
    lines: list[str] = []
    run(Results.read(tmp_path, claim), HERE, 1, lines.append)
    told = {line.split(";")[0] for line in lines if "seed 100" in line}
    assert told == {
        "batch, rate 0.1, seed 100: diverged",
        "batch, rate 0.01, seed 100: did not reach the training loss",
        "plain, rate 0.1, seed 100: val_accuracy 0.1, test_accuracy 0.1, steps 0.1",
        "plain, rate 0.01, seed 100: val_accuracy 0.01, test_accuracy 0.01, steps 0.01",
    }


def test_rates_are_searched_before_the_study(claim: Claim, trained: list[Cell], tmp_path: Path):
    results = run_claim(claim, tmp_path)
    assert [cell.purpose for cell in trained] == [TUNE] * 4 + [STUDY] * 4
    assert {(cell.arm, cell.rate, cell.seed) for cell in trained[:4]} == {
        (arm, rate, 100) for arm in ("plain", "batch") for rate in (0.01, 0.1)
    }
    assert trained[4:] == [Cell(arm, 0.1, seed, STUDY) for seed in (0, 1) for arm in ("plain", "batch")]
    assert results.verdict == Verdict.SUPPORTED.value
    assert Results.read(tmp_path, claim) == results
    assert results.arms["batch"]["parameters"] == results.arms["plain"]["parameters"] + 4  # scale and shift, no bias
    assert results.digests[0]["digest"] == claim.digest
    assert [source["torch"] for source in results.sources] == [torch.__version__]


def test_a_finished_study_is_not_trained_again(claim: Claim, trained: list[Cell], tmp_path: Path):
    first = run_claim(claim, tmp_path)
    assert run_claim(claim, tmp_path) == first
    assert len(trained) == 8


def test_fewer_seeds_come_first_and_the_others_later(claim: Claim, trained: list[Cell], tmp_path: Path):
    assert run_claim(claim, tmp_path, num_seeds=1).verdict == Verdict.OPEN.value
    assert {cell.seed for cell in trained[4:]} == {0}
    assert run_claim(claim, tmp_path).verdict == Verdict.SUPPORTED.value
    assert len(trained) == 8


def test_more_seeds_than_the_claim_has_are_refused(claim: Claim, trained: list[Cell], tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"claim 1 has 2 seeds, got 3; more would have to be added to .*which then counts as"
    ):
        run_claim(claim, tmp_path, num_seeds=3)
    assert not trained


def test_a_stopped_study_is_resumed(claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trained: list[Cell] = []

    def stop_at(number: int) -> Train:
        def train(_: Study, cell: Cell, __: Path) -> dict[str, Any]:
            if len(trained) == number:
                raise KeyboardInterrupt
            trained.append(cell)
            return entry()

        return train

    for number in (3, 6):
        replace_training(monkeypatch, stop_at(number))
        with pytest.raises(KeyboardInterrupt):
            run_claim(claim, tmp_path)
        assert len(Results.read(tmp_path, claim).cells) == number
    replace_training(monkeypatch, stop_at(99))
    assert run_claim(claim, tmp_path).missing() == 0
    assert len(trained) == len(set(trained)) == 8


def test_each_cell_of_the_study_is_a_look_at_test_images(claim: Claim, trained: list[Cell], tmp_path: Path):
    ledger = tmp_path / "runs" / "ledger.jsonl"
    run_claim(claim, tmp_path, ledger=ledger)
    entries = Ledger(ledger).entries()
    assert [look["run"] for look in entries] == [
        f"claim 1, {cell.arm}, rate 0.1, seed {cell.seed}" for cell in trained if cell.purpose == STUDY
    ]
    assert all(ImageSet("digits").are_in(look) for look in entries)
    assert {look["test/images"] for look in entries} == {40}


def test_a_changed_file_is_told_and_its_sizes_are_measured_again(trained: list[Cell], tmp_path: Path):
    before = run_claim(write_claim(tmp_path), tmp_path)
    arms = CONTENT["arms"] | {"batch": {"model.norm": "batch", "model.widths": [8]}}
    after = run_claim(write_claim(tmp_path, arms=arms), tmp_path)
    assert (before.changed, after.changed) == (False, True)
    assert after.digests[0]["digest"] == before.claim.digest
    assert after.arms["plain"] == before.arms["plain"]
    assert after.arms["batch"]["parameters"] > before.arms["batch"]["parameters"]
    assert [cell.arm for cell in trained[8:]] == ["batch"] * 4


@pytest.mark.usefixtures("trained")
def test_an_exact_claim_runs_its_check(tmp_path: Path):
    folder = tmp_path / "claims"
    folder.mkdir()
    (folder / "28_initialisation.yaml").write_text("{number: 28, statement: It draws., evidence: The chapter.}")
    results = run_claim(find_claim(tmp_path, 28), tmp_path)
    assert results.verdict == Verdict.SUPPORTED.value
    assert all(fact["holds"] for fact in results.facts)
    assert results.cells == {}


# What stops a study


def test_two_runs_at_once_are_refused(claim: Claim, trained: list[Cell], tmp_path: Path):
    results = Results.read(tmp_path, claim)
    results.path.parent.mkdir(parents=True)
    with (
        FileLock(results.path.with_suffix(".lock")),
        pytest.raises(ValueError, match="claim 1 is being run by another process: wait until it has ended"),
    ):
        run(results, HERE, 1, silent)
    assert not trained


def test_what_another_process_has_trained_meanwhile_is_kept(claim: Claim, trained: list[Cell], tmp_path: Path):
    early = Results.read(tmp_path, claim)
    run_claim(claim, tmp_path)
    run(early, HERE, 1, silent)
    assert len(trained) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"arms": {"plain": {"model.nrom": "batch"}}},
            "arm plain: model.nrom is no argument of LitBlockNet; did you mean norm",
        ),
        ({"arms": {"plain": {"model.norm": "layer"}}}, "arm plain: norm must be one of none, batch, group, got 'layer'"),
        (
            {"arms": {"plain": {"data.batchsize": 3}}},
            "data.batchsize is no argument of a study's images; did you mean batch_size",
        ),
        (
            {"arms": {"plain": {"trainer.epochs": 3}}},
            "arm plain: trainer.epochs cannot be set in a study; did you mean",
        ),
        ({"arms": {"plain": {"trainer.devices": 3}}}, "arm plain: trainer.devices cannot be set in a study"),
        (
            {"recipe": {"model": {"class_path": "LitNet"}, "data": {"class_path": "Digits"}}},
            "there is no LitNet; did you mean",
        ),
        ({"recipe": {"data": {"class_path": "Digit"}}}, "data.class_path: there is no Digit; did you mean Digits"),
        (
            {"val_images": 5000},
            "Digits has 1,437 images to train and to validate with, too few for train_images 60 and val_images",
        ),
        (
            {"measures": CONTENT["measures"] | {"x": {"measure": "acuracy"}}},
            "measures.x: there is no measure acuracy; did you mean",
        ),
        (
            {"measures": CONTENT["measures"] | {"x": {"measure": "accuracy", "on": 1}}},
            "measures.x: accuracy: got an unexpected",
        ),
        ({"measures": CONTENT["measures"] | {"x": {"measure": "memory", "of": 1}}}, "measures.x: memory takes no of"),
        (
            {"measures": CONTENT["measures"] | {"x": {"measure": "largest_stable_rate"}}},
            "needs of, the name of a measure, and",
        ),
    ],
)
def test_what_cannot_be_run_is_told_before_the_first_training(
    trained: list[Cell], tmp_path: Path, changes: dict[str, Any], message: str
):
    arms = {"batch": {}} | changes.pop("arms", {"plain": {}})
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        run_claim(write_claim(tmp_path, arms=arms, **changes), tmp_path)
    assert "\n" not in str(raised.value)
    assert not trained
    assert not Results.read(tmp_path, write_claim(tmp_path)).digests


def test_missing_images_name_the_option(tmp_path: Path):
    recipe = CONTENT["recipe"] | {"data": {"class_path": "ImageFolder", "init_args": {"data_dir": "photos"}}}
    study = study_of(write_claim(tmp_path, recipe=recipe))
    with pytest.raises(
        ValueError, match=r"the folder .*photos does not exist: name the folder of your images with --data_dir"
    ):
        check_runnable(study, tmp_path)


def test_an_error_of_a_training_ends_the_study(claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def train(_: Study, cell: Cell, __: Path) -> dict[str, Any]:
        if cell.arm == "batch":
            raise ValueError("no such image")
        return entry()

    replace_training(monkeypatch, train)
    with pytest.raises(ValueError, match="no such image"):
        run_claim(claim, tmp_path)
    assert [cell["arm"] for cell in Results.read(tmp_path, claim).cells.values()] == ["plain"]


# A quick run


def test_a_quick_run_tries_each_arm_and_writes_nothing(claim: Claim, tmp_path: Path):
    lines: list[str] = []
    files = sorted(tmp_path.rglob("*"))
    run_quickly(claim, HERE, lines.append)
    assert [line.partition(":")[0] for line in lines] == ["plain", "batch"]
    assert "test_accuracy " in lines[0]
    assert sorted(tmp_path.rglob("*")) == files
