"""What is concluded from pairs of arms, and how often that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pytest

from lit_cnn.analysis.conclusions import decide, show_seeds
from lit_cnn.analysis.pairs import LEVEL, MEASURES, PairSummary, adjust, compare_seeds
from lit_cnn.analysis.seeds import Seed

MARGIN = 0.005
SEEDS = [Seed(*[number] * 4) for number in range(20)]


def conclude(
    accuracies: Sequence[Sequence[float]], margin: float | None = MARGIN, all_pairs: bool = True
) -> list[PairSummary]:
    """Pairs of arms, which are called by their number, with what is concluded."""
    values = {str(name): dict(zip(SEEDS, row, strict=False)) for name, row in enumerate(accuracies)}
    names = list(combinations(values, 2)) if all_pairs else [("0", name) for name in values if name != "0"]
    pairs = adjust([compare_seeds(*pair, values, margin) for pair in names])
    return [decide(pair, values, margin, MEASURES["acc"], len(pairs)) for pair in pairs]


def is_false(pair: PairSummary, truth: Sequence[float]) -> bool:
    difference = truth[int(pair.second)] - truth[int(pair.first)]
    better = pair.second if difference > 0 else pair.first if difference < 0 else None
    return (pair.better is not None and pair.better != better) or (pair.is_equivalent and abs(difference) >= MARGIN)


# Errors are likeliest where one arm is equal, and another is better by the margin.
TRUTHS = {"equal": (0, 0, 0), "at the margin": (0, MARGIN, -MARGIN), "both": (0, 0, MARGIN)}
FAST = [pytest.param(150, TRUTHS["both"], MARGIN, 0.0003, id="fast")]
SLOW = [
    pytest.param(1500, truth, margin, sd, id=f"{name}-{sd}", marks=pytest.mark.slow)
    for (name, truth), margin, sd in product(TRUTHS.items(), [MARGIN], (0.0003, 0.002))
]


@pytest.mark.parametrize(("num_studies", "truth", "margin", "sd"), FAST + SLOW)
def test_at_most_5_percent_of_studies_have_a_false_statement(
    num_studies: int, truth: Sequence[float], margin: float | None, sd: float
):
    random = np.random.default_rng(0)
    studies = 0.9 + np.array(truth)[:, None] + sd * random.normal(size=(num_studies, 3, 5))
    errors = [any(is_false(pair, truth) for pair in conclude(study, margin, all_pairs=False)) for study in studies]
    assert np.mean(errors) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / num_studies)


@pytest.mark.parametrize("num_studies", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_equal_arms_are_called_different_in_about_5_percent_of_studies(num_studies: int):
    studies = 0.9 + 0.003 * np.random.default_rng(0).normal(size=(num_studies, 3, 5))
    values = [
        {name: dict(zip(SEEDS, row, strict=False)) for name, row in zip("abc", study, strict=True)} for study in studies
    ]
    tested = [adjust([compare_seeds(*pair, one, None) for pair in ("ab", "ac", "bc")]) for one in values]
    errors = [any(pair.p_adjusted < LEVEL for pair in pairs) for pairs in tested]
    assert 0.02 <= np.mean(errors) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / num_studies)


def test_both_tests_of_one_pair_need_no_correction():
    (pair,) = conclude([[0.8, 0.81, 0.82], [0.81, 0.815, 0.835]])
    assert pair.p == pair.p_adjusted


def test_large_numbers_of_seeds_are_not_shown():
    assert (show_seeds(12), show_seeds(1000), show_seeds(10**12)) == ("12", "1,000", "more than 1,000")
    noise = 0.1 * np.array([1, -1.001, 0.5, -0.5, 0.001])
    (pair,) = conclude([[0.5] * 5, list(0.5 + noise)], None)
    assert pair.seeds_to_decide > 1000
    assert pair.verdict.endswith("; more than 1,000 would")
