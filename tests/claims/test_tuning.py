"""The choice of the rates of a study, and what is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from claim_files import RATES, STEPS, enter, entry, finish, results_of

from lit_cnn.claims.cells import STUDY, Cell
from lit_cnn.claims.describe import describe_answer, describe_search
from lit_cnn.claims.verdict import Verdict


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
        "plain: in the search, no rate of the grid reaches the threshold of steps; its rate is the lowest",
    ]
    for rate in RATES:
        enter(results, {rate: 3}, final_loss=1 / rate)
    assert describe_search(results) == [
        "plain: in the search, no rate of the grid reaches the threshold of steps; its rate 1 has the lowest training loss",
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
