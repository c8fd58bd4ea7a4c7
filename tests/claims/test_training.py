"""Training and measuring one cell of a study."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from claim_files import study_of, write_claim

from lit_cnn.claims import measured
from lit_cnn.claims.cells import STUDY, TUNE, Cell
from lit_cnn.claims.images import StudyData
from lit_cnn.claims.results import Results
from lit_cnn.claims.run import measure_all_arms, run_cell
from lit_cnn.claims.study import Claim

HERE = Path()


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    return write_claim(tmp_path)


def cell(purpose: str = STUDY, **changes: Any) -> Cell:
    return dataclasses.replace(Cell("batch", 0.1, 1, purpose), **changes)


def numbers(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "seconds"}


def test_a_cell_trains_and_measures(claim: Claim):
    found = run_cell(study_of(claim), cell(), HERE)
    assert found["values"].keys() == {"val_accuracy", "test_accuracy", "steps"}  # parameters are not of a cell
    assert (found["steps"], found["planned"], found["images"]) == (3, 3, 60)
    assert [step for step, _ in found["curve"]] == [1, 2, 3]
    assert found["final_loss"] == pytest.approx(sum(loss for _, loss in found["curve"]) / 3, abs=1e-5)
    assert "reached" not in found  # trained to the end
    assert (found["diverged"], found["num_classes"], found["num_tested"], found["data"]) == (False, 10, 40, "digits")
    json.dumps(found, allow_nan=False)


def test_the_same_cell_gives_the_same_numbers_whatever_was_trained_before(claim: Claim):
    study = study_of(claim)
    first = numbers(run_cell(study, cell(), HERE))
    run_cell(study, cell(arm="plain", seed=5), HERE)
    assert numbers(run_cell(study, cell(), HERE)) == first
    assert numbers(run_cell(study, cell(seed=2), HERE)) != first


def test_the_search_looks_at_no_test_image(claim: Claim, monkeypatch: pytest.MonkeyPatch):
    seen: list[str] = []
    original = StudyData.normalised

    def watch(self: StudyData, split: str, limit: int | None = None) -> Any:
        seen.append(split)
        return original(self, split, limit)

    def refuse(*_: Any) -> None:
        raise AssertionError("the test images are loaded")

    monkeypatch.setattr(StudyData, "normalised", watch)
    monkeypatch.setattr(StudyData, "test_dataloader", refuse)
    found = run_cell(study_of(claim), cell(TUNE), HERE)
    assert (seen, found["values"].keys(), found["curve"]) == (["val"], {"val_accuracy"}, [])
    run_cell(study_of(claim), cell(STUDY), HERE)
    assert set(seen) == {"val", "test"}


def test_a_cell_that_diverges_has_no_values_but_its_steps(claim: Claim):
    found = run_cell(study_of(claim), cell(arm="plain", rate=1e30), HERE)
    assert found["diverged"]
    assert found["values"] == {"val_accuracy": None, "test_accuracy": None, "steps": 3.0}
    assert found["final_loss"] is None
    json.dumps(found, allow_nan=False)


def test_a_training_ends_at_its_loss(tmp_path: Path):
    study = study_of(write_claim(tmp_path, stop_at_loss=100.0, train_images=1300))
    recipe = study.recipe | {"trainer": {"max_epochs": 5}}
    found = run_cell(dataclasses.replace(study, recipe=recipe), cell(), HERE)
    assert (found["steps"], found["planned"]) == (128, 325)  # after a mean over 2,560 images
    assert (found["diverged"], found["reached"]) == (False, True)
    assert None not in found["values"].values()


@pytest.mark.parametrize("purpose", [STUDY, TUNE])
def test_a_training_that_does_not_reach_its_loss_has_no_values(tmp_path: Path, purpose: str):
    study = study_of(write_claim(tmp_path, stop_at_loss=1e-9))
    found = run_cell(study, cell(purpose), HERE)
    assert (found["reached"], found["diverged"]) == (False, False)
    assert set(found["values"].values()) == {None}
    assert found["values"].keys() >= {"val_accuracy"}


def test_the_final_loss_is_of_the_last_steps(tmp_path: Path):
    study = study_of(write_claim(tmp_path, train_images=600))
    found = run_cell(study, cell(), HERE)
    assert found["final_loss"] == pytest.approx(sum(loss for _, loss in found["curve"][-20:]) / 20, abs=1e-5)


def test_threads_are_as_before(claim: Claim):
    before = torch.get_num_threads()
    run_cell(study_of(claim), cell(), HERE)
    assert torch.get_num_threads() == before


def test_speeds_are_those_of_one_thread(claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    threads: list[int] = []

    def watch(networks: dict[str, Any], *_: Any) -> dict[str, Any]:
        threads.append(torch.get_num_threads())
        return {arm: {} for arm in networks}

    monkeypatch.setattr(measured, "measure_arms", watch)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    assert measure_all_arms(Results.read(tmp_path, claim), HERE) == {"plain": {}, "batch": {}}
    assert (threads, torch.get_num_threads()) == ([1], 2)
    torch.set_num_threads(before)
