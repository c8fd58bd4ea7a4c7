"""Files of results: the choice of rates, what is resumed, what decides; and those of this project."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from claim_files import CONTENT, QUESTION, entry, finish, write_claim
from conftest import ROOT

from lit_cnn.claims.describe import describe_answer, describe_scale, describe_search, describe_value
from lit_cnn.claims.results import STUDY, TUNE, Cell, Results
from lit_cnn.claims.study import RESULTS, read_claims
from lit_cnn.claims.verdict import Verdict

EXPERIMENTS = ROOT / "experiments"
RATES = [0.01, 0.1, 1.0]
STEPS = {"rates": RATES, "seeds": [100], "measure": "steps", "highest": False}


def results_of(tmp_path: Path, **changes: Any) -> Results:
    changes = {"tuning": CONTENT["tuning"] | {"rates": RATES}} | changes
    return Results.read(tmp_path, write_claim(tmp_path, **changes))


def enter(results: Results, scores: dict[float, float | None], arm: str = "plain", seed: int = 100, **changes: Any) -> None:
    """Enters the search of an arm."""
    for rate, value in scores.items():
        cell = Cell(arm, rate, seed, TUNE)
        key = cell.key(results.claim.study)
        results.cells[key] = {**vars(cell), "key": key, **entry(value, **changes), "source": 0}


# The results of this project


def test_stored_verdicts_follow_from_the_stored_values():
    claims = {claim.path.stem: claim for claim in read_claims(EXPERIMENTS)}
    for path in (EXPERIMENTS / RESULTS).glob("*.json"):
        results = Results.read(EXPERIMENTS, claims[path.stem])
        verdict = Verdict.OPEN if results.missing() else results.decide()
        assert results.verdict == verdict.value, path.stem
        assert results.digests[-1]["digest"] == results.claim.digest, f"{path.stem}: run it again, its file has changed"


# The choice of a rate


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({0.01: 60, 0.1: 80, 1.0: 70}, 0.1),
        ({0.01: 60, 0.1: 80, 1.0: None}, 0.1),
        ({0.01: 60, 0.1: None, 1.0: 70}, 1.0),
        ({0.01: 80, 0.1: 80, 1.0: 80}, 0.01),
        ({0.01: 60, 0.1: 80}, None),  # not finished
        ({0.01: None, 0.1: None, 1.0: None}, None),
    ],
)
def test_the_best_rate_is_that_of_the_highest_accuracy(tmp_path: Path, scores: dict[float, Any], expected: float | None):
    results = results_of(tmp_path)
    enter(results, scores)
    assert results.best_rate("plain") == expected
    assert results.best_rate("batch") is None


def test_the_best_rate_may_be_that_of_the_fewest_steps(tmp_path: Path):
    results = results_of(tmp_path, tuning=STEPS)
    enter(results, {0.01: 3, 0.1: 1, 1.0: 1})
    assert results.best_rate("plain") == 0.1


def test_a_rate_with_which_one_seed_diverged_is_not_chosen(tmp_path: Path):
    results = results_of(tmp_path, tuning={"rates": RATES, "seeds": [100, 101]})
    enter(results, {0.01: 60, 0.1: 80, 1.0: 99})
    enter(results, {0.01: 66, 0.1: 50, 1.0: None}, seed=101)
    assert results.best_rate("plain") == 0.1  # 65 on average, against 63


def test_the_study_takes_the_best_rate_of_each_arm_for_all_seeds(tmp_path: Path):
    results = results_of(tmp_path)
    enter(results, {0.01: 60, 0.1: 80, 1.0: 70})
    assert results.study_cells() == [Cell("plain", 0.1, seed, STUDY) for seed in (0, 1)]
    enter(results, {0.01: 60, 0.1: 50, 1.0: 70}, "batch")
    assert set(results.study_cells()) == {Cell("plain", 0.1, 0, STUDY), Cell("plain", 0.1, 1, STUDY)} | {
        Cell("batch", 1.0, seed, STUDY) for seed in (0, 1)
    }
    assert {cell.seed for cell in results.study_cells(num_seeds=1)} == {0}


def test_a_rate_at_an_end_of_the_grid_is_told(tmp_path: Path):
    results = results_of(tmp_path)
    enter(results, {0.01: 60, 0.1: 50, 1.0: 55})
    enter(results, {0.01: 60, 0.1: 50, 1.0: 70}, "batch")
    assert describe_search(results) == [
        "plain: its rate 0.01 is the lowest of the grid; a lower one may be better",
        "batch: its rate 1 is the highest of the grid; a higher one may be better",
    ]
    enter(results, {0.01: 60, 0.1: 90, 1.0: 55})
    enter(results, {0.01: 60, 0.1: 90, 1.0: 55}, "batch")
    assert describe_search(results) == []


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({0.01: 2.0, 0.1: 1.5, 1.0: 1.9}, 0.1),
        ({0.01: 2.0, 0.1: None, 1.0: 1.9}, 1.0),  # without a number
        ({0.01: 2.0, 0.1: 1.5, 1.0: 1.5}, 0.1),
        ({0.01: None, 0.1: None, 1.0: None}, 0.01),
    ],
)
def test_if_no_rate_reaches_the_threshold_the_final_loss_decides(
    tmp_path: Path, losses: dict[float, float | None], expected: float
):
    results = results_of(tmp_path, tuning=STEPS)
    for rate, loss in losses.items():
        enter(results, {rate: 3}, final_loss=loss)
    assert results.best_rate("plain") == expected


def test_rates_that_reach_the_threshold_do_not_compare_their_losses(tmp_path: Path):
    results = results_of(tmp_path, tuning=STEPS)
    for rate, steps in {0.01: 3, 0.1: 2, 1.0: 2}.items():
        enter(results, {rate: steps}, final_loss=1 / rate)
    assert results.best_rate("plain") == 0.1


def test_the_final_loss_of_a_rate_is_the_mean_over_its_seeds(tmp_path: Path):
    results = results_of(tmp_path, tuning=STEPS | {"seeds": [100, 101]})
    for seed, losses in ((100, (2.0, 1.0, 1.6)), (101, (2.0, 2.9, 1.6))):
        for rate, loss in zip(RATES, losses, strict=True):
            enter(results, {rate: 3}, seed=seed, final_loss=loss)
    assert results.best_rate("plain") == 1.0


def test_a_threshold_that_no_rate_reaches_is_told(tmp_path: Path):
    results = results_of(tmp_path, tuning=STEPS)
    enter(results, dict.fromkeys(RATES, 3))
    assert describe_search(results) == [
        "plain: no rate of the grid reaches the threshold of steps; its rate is the lowest",
    ]
    for rate in RATES:
        enter(results, {rate: 3}, final_loss=1 / rate)
    assert describe_search(results) == [
        "plain: no rate of the grid reaches the threshold of steps; its rate 1 has the lowest training loss",
    ]


def test_an_arm_that_no_rate_trains_makes_the_verdict_inconclusive(tmp_path: Path):
    results = results_of(tmp_path)
    enter(results, dict.fromkeys(RATES))
    enter(results, dict.fromkeys(RATES, 50), "batch")
    finish(results, lambda cell: entry(None if cell.arm == "plain" else 50.0))
    assert results.missing() == 0
    assert results.decide() is Verdict.INCONCLUSIVE
    assert [describe_answer(one) for one in results.answers()] == [
        "BatchNorm is better: inconclusive; no rate of the grid trains plain"
    ]
    assert describe_search(results)[0] == "plain: no rate of the grid trains it"


def test_an_arm_that_does_not_reach_the_equal_loss_decides_nothing(tmp_path: Path):
    results = results_of(tmp_path, stop_at_loss=0.2)

    def one_fails(cell: Cell) -> dict[str, Any]:
        failed = cell.arm == "batch" and cell.seed == 1
        return entry(None, diverged=False, reached=False) if failed else entry(50.0 + cell.seed, reached=True)

    finish(results, one_fails)
    assert results.decide() is Verdict.INCONCLUSIVE
    assert describe_answer(results.answers()[0]) == (
        "BatchNorm is better: inconclusive; batch does not reach the training loss 0.2 with 1 of 2 seeds"
    )


def test_a_rate_that_does_not_reach_the_equal_loss_is_not_chosen(tmp_path: Path):
    results = results_of(tmp_path, stop_at_loss=0.2)
    enter(results, {0.01: 60, 0.1: 80}, reached=True)
    enter(results, {1.0: None}, diverged=False, reached=False)
    assert results.best_rate("plain") == 0.1
    enter(results, dict.fromkeys(RATES), "batch", diverged=False, reached=False)
    assert results.missing() == 2  # the study of plain
    finish(results, lambda cell: entry(50.0, reached=True) if cell.arm == "plain" else entry(None, reached=False))
    assert describe_answer(results.answers()[0]).endswith("inconclusive; no rate of the grid trains batch")


# Verdicts


@pytest.mark.parametrize(("gain", "verdict"), [(5, "supported"), (-5, "refuted"), (0.5, "inconclusive")])
def test_the_verdict_comes_from_the_pairs_of_the_study(tmp_path: Path, gain: float, verdict: str):
    results = results_of(tmp_path, seeds=[0, 1, 2, 3])
    finish(results, lambda cell: entry(50 + 10 * cell.seed % 3 + (cell.arm == "batch") * (gain + cell.seed)))
    assert results.decide().value == verdict
    (answer,) = results.answers()
    assert answer.interval.value == pytest.approx(gain + 1.5)
    assert answer.n == 4
    assert describe_scale(results) == "digits, 60 training images, 1 epoch, 4 seeds"


def test_questions_that_do_not_decide_are_only_told(tmp_path: Path):
    other = QUESTION | {"text": "BatchNorm is worse", "expect": "below", "decides": False}
    results = results_of(tmp_path, questions=[QUESTION, other])
    finish(results, lambda cell: entry(50 + (cell.arm == "batch") * 9 + cell.seed))
    assert results.decide() is Verdict.SUPPORTED
    assert describe_answer(results.answers()[1]) == (
        "BatchNorm is worse (does not decide): refuted (difference 9.00, the same 2 times; asked: below 0.00)"
    )


def test_a_fact_that_does_not_hold_refutes(tmp_path: Path):
    results = results_of(tmp_path)
    finish(results, lambda cell: entry(50 + (cell.arm == "batch") * 9 + cell.seed))
    results.facts = [{"text": "1 + 1 = 2", "holds": True}]
    assert results.decide() is Verdict.SUPPORTED
    results.facts.append({"text": "1 + 1 = 3", "holds": False})
    assert results.decide() is Verdict.REFUTED


def test_a_study_without_results_is_open(tmp_path: Path):
    results = results_of(tmp_path)
    assert results.decide() is Verdict.OPEN
    assert results.missing() == 2 * 3 + 2 * 2
    enter(results, dict.fromkeys(RATES, 50))
    assert results.missing() == 3 + 2 * 2


def test_counted_and_timed_measures_need_no_cells(tmp_path: Path):
    measures = CONTENT["measures"] | {"speed": {"measure": "images_per_s"}}
    counted = {"text": "It is larger", "measure": "parameters", "contrast": {"batch": 1, "plain": -1}}
    faster = {"text": "It is slower", "measure": "speed", "contrast": {"batch": 1, "plain": -1}, "scale": "log"}
    questions = [counted | {"expect": "above", "threshold": 0}, faster | {"expect": "below", "threshold": 1}]
    results = results_of(tmp_path, measures=measures, questions=questions)
    assert results.decide() is Verdict.OPEN
    results.arms = {
        "plain": {"parameters": 90, "images_per_s": [100.0, 110.0, 105.0]},
        "batch": {"parameters": 98, "images_per_s": [50.0, 56.0, 53.0]},
    }
    size, speed = results.answers()
    assert (size.interval.value, size.n, size.verdict) == (8, 1, Verdict.SUPPORTED)
    assert (speed.n, speed.verdict) == (3, Verdict.SUPPORTED)
    assert speed.interval.value == pytest.approx(0.505, abs=0.01)
    assert describe_value(results, "batch", "parameters") == "98.00"


def test_steps_to_what_is_not_reached_are_lower_bounds(tmp_path: Path):
    fewer = QUESTION | {"measure": "steps", "contrast": {"plain": 1, "batch": -1}, "scale": "log", "threshold": 1.5}
    results = results_of(tmp_path, questions=[fewer], tuning=STEPS)
    finish(results, lambda cell: entry(30 - cell.seed if cell.arm == "plain" and cell.seed else 10, planned=29))
    (answer,) = results.answers()
    assert (answer.num_bounds, answer.num_values) == (1, 4)
    assert describe_answer(answer).endswith("; 1 of 4 values is a lower bound")


def test_a_sweep_gives_the_largest_stable_rate(tmp_path: Path):
    measures = CONTENT["measures"] | {"stable": {"measure": "largest_stable_rate", "of": "test_accuracy"}}
    higher = QUESTION | {"measure": "stable", "scale": "log", "threshold": 1}
    results = results_of(tmp_path, measures=measures, questions=[higher], sweep=True)
    assert len(results.study_cells()) == 2 * 3 * 2  # arms, rates, seeds
    finish(results, lambda cell: entry(None if cell.arm == "plain" and cell.rate > 0.1 else 50.0))
    (answer,) = results.answers()
    assert (answer.interval.value, answer.verdict) == (pytest.approx(10), Verdict.SUPPORTED)
    assert (answer.num_bounds, answer.num_values) == (2, 4)  # with BatchNorm, the grid ends first


# The file


def test_results_are_written_and_read(tmp_path: Path):
    results = results_of(tmp_path)
    finish(results, lambda cell: entry(50.0 + cell.seed))
    results.digests, results.verdict = [{"digest": results.claim.digest, "time": "now", "commit": None}], "supported"
    results.arms, results.facts = {"plain": {"parameters": 3}}, [{"text": "1 = 1", "holds": True}]
    results.write()
    assert Results.read(tmp_path, results.claim) == results
    content = json.loads(results.path.read_text(encoding="utf-8"))
    assert (content["claim"], content["command"]) == (1, "lit-cnn claims run 1")
    assert [path.name for path in results.path.parent.iterdir()] == ["01_batch_norm_helps.json"]


def test_a_changed_file_is_told_and_unchanged_cells_stay(tmp_path: Path):
    results = results_of(tmp_path)
    results.digests = [{"digest": results.claim.digest}]
    finish(results, lambda _: entry())
    results.write()
    assert not results.changed
    other = results_of(tmp_path, questions=[QUESTION | {"threshold": 3}], notes="Now it is so.")
    assert other.changed
    assert other.missing() == 0
    longer = results_of(tmp_path, seeds=[0, 1, 2])
    assert longer.missing() == 2
    assert results_of(tmp_path, train_images=61).missing() == 2 * 3 + 2 * 2
    assert not results_of(tmp_path, notes="Now it is so.").changed


def test_another_measure_keeps_the_search_but_not_the_study(tmp_path: Path):
    results = results_of(tmp_path)
    finish(results, lambda _: entry())
    results.write()
    measures = CONTENT["measures"] | {"gap": {"measure": "gap"}}
    assert results_of(tmp_path, measures=measures).missing() == 2 * 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-20], "Expecting"),
        (lambda _: "[]", "expected keys and values"),
        (lambda text: text.replace('"verdict"', '"verdit"'), "the key verdict is missing"),
        (lambda text: text.replace('"not yet run"', '"true"'), "'true' is not a valid Verdict"),
        (lambda text: text.replace('"planned"', '"plan"', 1), "cell 1: the key planned is missing"),
        (lambda text: text.replace('"holds"', '"hold"'), "facts: the key holds is missing"),
        (lambda text: text.replace('"cells": [', '"cells": [3,'), "is damaged"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path: Path, damage: Any, message: str):
    results = results_of(tmp_path)
    finish(results, lambda _: entry())
    results.facts = [{"text": "1 = 1", "holds": True}]
    results.write()
    results.path.write_text(damage(results.path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ValueError, match=r"is damaged .*: remove it, and run the claim again") as raised:
        Results.read(tmp_path, results.claim)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_full_disk_leaves_the_results_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    results = results_of(tmp_path)
    results.write()
    before = results.path.read_bytes()
    finish(results, lambda _: entry())

    def fail(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*01_batch_norm_helps\.json"):
        results.write()
    assert results.path.read_bytes() == before
    assert len(list(results.path.parent.iterdir())) == 1
