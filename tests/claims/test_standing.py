"""What stands beside a verdict: changes, missing trainings, commits, cost and scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from claim_files import CONTENT, QUESTION, entry, finish, results_of, write_claim
from html_pages import check_page

from lit_cnn.claims.cells import Cell
from lit_cnn.claims.describe import describe_answer, describe_scale
from lit_cnn.claims.page import write_claims
from lit_cnn.claims.results import Results
from lit_cnn.claims.standing import (
    describe_budget,
    describe_next,
    describe_provenance,
    describe_verdict,
    describe_warnings,
)
from lit_cnn.claims.verdict import Verdict

MACHINE = {"torch": "2.11", "python": "3.11", "cpu_name": "Fake CPU", "cpu": "AVX2", "processors": 2}
SCALE = "digits, 60 training and 40 test images, "


def supported(cell: Cell) -> dict[str, Any]:
    return entry(50 + (cell.arm == "batch") * (9 + cell.seed / 10) + cell.seed)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = results_of(tmp_path)
    finish(results, supported)
    results.digests = [{"digest": results.claim.digest, "time": "now", "commit": "c0ffee"}]
    results.sources = [MACHINE | {"commit": "c0ffee" * 6}]
    results.verdict = results.decide().value
    results.write()
    return results


def reread(results: Results, **changes: Any) -> Results:
    """The same results after the file of the claim was changed."""
    return results_of(results.path.parents[2], **changes)


# The verdict


def test_a_stored_verdict_that_the_values_contradict_is_not_shown(results: Results):
    assert describe_verdict(results, results.verdict_now()) == "supported"
    results.verdict = Verdict.REFUTED.value
    assert results.verdict_now() is Verdict.SUPPORTED
    assert '<strong class="verdict refuted">' not in write_claims([results])


def test_a_verdict_on_another_file_is_none(results: Results):
    other = reread(results, questions=[QUESTION | {"expect": "below"}])
    assert (other.verdict_now(), other.stored_verdict()) == (Verdict.OPEN, Verdict.OPEN)
    assert describe_verdict(other, other.verdict_now()) == "not yet run (its file was changed)"
    assert describe_next(other, other.verdict_now()) == "run it with: lit-cnn claims run 1"
    other.digests.append({"digest": other.claim.digest})
    other.verdict = other.decide().value
    assert (other.verdict_now(), other.stored_verdict()) == (Verdict.REFUTED, Verdict.REFUTED)
    assert describe_verdict(other, other.verdict_now()) == "refuted (file changed since its first run)"


def test_a_stopped_study_shows_no_verdict_but_one_of_fewer_seeds_does(results: Results):
    longer = reread(results, seeds=[0, 1, 2])
    longer.digests = [{"digest": longer.claim.digest}]
    longer.verdict = Verdict.OPEN.value
    assert longer.verdict_now() is Verdict.OPEN
    longer.verdict = longer.decide().value
    assert longer.verdict_now() is Verdict.SUPPORTED
    assert describe_next(longer, Verdict.SUPPORTED) == "2 trainings are missing; resume with: lit-cnn claims run 1"
    assert describe_next(results, Verdict.SUPPORTED) == ""


# Warnings, provenance and cost


def test_trainings_of_several_commits_are_told(results: Results):
    assert describe_warnings(results) == []
    results.sources.append(MACHINE | {"commit": "badcafe" * 6 + "-dirty"})
    assert describe_warnings(results) == []  # nothing was trained with it
    next(iter(results.cells.values()))["source"] = 1
    line = "the trainings come from 2 commits: badcafebadca-dirty, c0ffeec0ffee"
    assert describe_warnings(results) == [line]
    assert f"{line.capitalize()}." in check_page(write_claims([results])).text


def test_cells_that_are_no_longer_used_do_not_count(results: Results):
    results.sources.append(MACHINE | {"commit": "badcafe"})
    for cell in results.cells.values():
        cell["source"] = int(cell["seed"] == 1)
    other = reread(results, seeds=[0, 2])
    other.cells, other.sources = results.cells, results.sources
    assert describe_warnings(other) == ["the file of this claim was changed after its first run"]


@pytest.mark.parametrize(("seconds", "used"), [(0.3, "0.05"), (60.0, "10"), (6300.0, "1,050")])
def test_planned_and_used_time_are_told(results: Results, seconds: float, used: str):
    for cell in results.cells.values():  # 6 of the search, 4 of the study
        cell["seconds"] = seconds
    assert describe_budget(results) == f"planned 1 min, used {used} min of one thread"
    assert ("time", describe_budget(results)) in describe_provenance(results)
    results.cells = {}
    assert describe_budget(results) == ""


# The scale


def test_seeds_are_those_that_every_arm_has(tmp_path: Path):
    results = results_of(tmp_path, seeds=[0, 1, 2, 3])
    assert describe_scale(results) == f"{SCALE}1 epoch, 4 seeds"
    finish(results, supported)
    last = results.study_cells()[-1].key(results.claim.study)
    del results.cells[last]
    assert describe_scale(results) == f"{SCALE}1 epoch, 3 of 4 registered seeds"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"arms": {"plain": {}, "batch": {"trainer.max_epochs": 5}}}, "1 or 5 epochs"),
        ({"arms": {"plain": {"trainer.max_epochs": 3}, "batch": {"trainer.max_epochs": 3}}}, "3 epochs"),
        ({"stop_at_loss": 0.2}, "until a training loss of 0.2, at most 1 epoch"),
        (
            {"stop_at_loss": 0.2, "arms": {"plain": {}, "batch": {"trainer.max_epochs": 40}}},
            "until a training loss of 0.2, at most 40 epochs",
        ),
    ],
)
def test_lengths_of_trainings_are_told(tmp_path: Path, changes: dict[str, Any], expected: str):
    assert describe_scale(results_of(tmp_path, **changes)) == f"{SCALE}{expected}, 2 seeds"


def test_all_images_are_told(tmp_path: Path):
    claim = write_claim(tmp_path, train_images=None, test_images=None)
    assert describe_scale(Results.read(tmp_path, claim)) == "digits, all training and all test images, 1 epoch, 2 seeds"


def test_a_timing_has_rounds(tmp_path: Path):
    measures = CONTENT["measures"] | {"speed": {"measure": "images_per_s"}}
    slower = QUESTION | {"measure": "speed", "scale": "log", "expect": "below", "threshold": 1, "margin": 0}
    results = results_of(tmp_path, measures=measures, questions=[slower, slower | {"threshold": 0.51}])
    results.arms = {"plain": {"images_per_s": [100.0, 110.0, 105.0]}, "batch": {"images_per_s": [50.0, 56.0, 53.0]}}
    clear, near = map(describe_answer, results.answers())
    assert clear.endswith(" over 3 rounds; asked: below 1.00)")
    assert near.endswith(" rounds would decide")
