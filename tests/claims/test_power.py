"""How often verdicts are false, how many seeds decide, and what several questions decide together."""

from __future__ import annotations

import numpy as np
import pytest
from fake_questions import NOISE, ask, decide, differences, simulate

from lit_cnn.claims.verdict import Verdict, answer, combine

SUPPORTED, REFUTED, INCONCLUSIVE, OPEN = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.OPEN


# Seeds that would decide


def test_an_undecided_question_says_how_many_seeds_decide():
    near, far = decide(0.05), decide(0.15)
    assert (near.verdict, far.verdict) == (INCONCLUSIVE, INCONCLUSIVE)
    assert near.seeds_needed > far.seeds_needed > 5
    assert decide(1e-9).seeds_needed > 10**9
    assert decide(0.3).seeds_needed is None


def test_no_number_of_seeds_decides_at_the_threshold():
    values = {"a": {0: 0.0, 1: 0.0}, "b": {0: -1.0, 1: 1.0}}
    assert answer(ask(), values).seeds_needed is None


@pytest.mark.parametrize(("mean", "margin", "expect"), [(0.15, 0.0, "above"), (0.0, 0.1, "above"), (0.1, 0.25, "within")])
def test_that_number_of_seeds_decides_in_four_of_five_studies(mean: float, margin: float, expect: str):
    threshold = margin if expect == "within" else 0.0
    question = ask(expect=expect, threshold=threshold, margin=0.0 if expect == "within" else margin)
    needed = answer(question, differences(mean)).seeds_needed
    random, sd = np.random.default_rng(0), float(np.std(NOISE, ddof=1))
    decided = [simulate(question, random.normal(mean, sd, needed)) is not INCONCLUSIVE for _ in range(400)]
    assert 0.74 < np.mean(decided) < 0.88


# False verdicts


@pytest.mark.parametrize(
    ("expect", "true", "wrong"),
    [
        ("above", 0.0, SUPPORTED),
        ("below", 0.0, SUPPORTED),
        ("above", 0.5, REFUTED),  # at threshold + margin
        pytest.param("within", 0.5, SUPPORTED, marks=pytest.mark.slow),
        pytest.param("within", 0.5, REFUTED, marks=pytest.mark.slow),
    ],
)
def test_a_verdict_is_false_in_at_most_one_of_twenty_studies(expect: str, true: float, wrong: Verdict):
    question = ask(expect=expect, threshold=0.5 if expect == "within" else 0.0, margin=0.0 if expect == "within" else 0.5)
    studies = np.random.default_rng(0).normal(true, 0.4, (1000, 5))
    false = np.mean([simulate(question, study) is wrong for study in studies])
    # Each end of a 95 % interval errs in 2.5 %, a one-sided test in 5 %, plus or minus two standard errors.
    assert 0.015 < false < 0.064


# Several questions


def test_a_refutation_among_several_questions_takes_a_wider_interval():
    # The 95 % interval is ±0.196, that of 1 − 0.05/3 is ±0.274.
    assert decide(-0.2).verdict is REFUTED
    values = differences(-0.2)
    found = answer(ask(), values, num_deciding=3)
    assert (found.verdict, found.interval) == (INCONCLUSIVE, decide(-0.2).interval)
    assert found.seeds_needed > 5
    assert answer(ask(), differences(-0.3), num_deciding=3).verdict is REFUTED
    assert answer(ask(decides=False), values, num_deciding=3).verdict is REFUTED
    assert answer(ask(), differences(0.2), num_deciding=3).verdict is SUPPORTED
    within = ask(expect="within", threshold=0.1)
    assert [answer(within, differences(0.35), num_deciding=k).verdict for k in (1, 3)] == [REFUTED, INCONCLUSIVE]
    # An effect that the 95 % interval shows to be smaller than the margin is not supported either.
    small = [answer(ask(margin=0.5), differences(0.3), num_deciding=k).verdict for k in (1, 3)]
    assert small == [REFUTED, INCONCLUSIVE]


def shares(true: np.ndarray, num_studies: int, **changes: object) -> tuple[float, float]:
    """Shares of supported and refuted claims whose parts have these effects, with five seeds each."""
    question, num_parts = ask(**changes), len(true)
    random = np.random.default_rng(0)
    found = []
    for _ in range(num_studies):
        contrasts = random.normal(true[:, None], 0.2, (num_parts, 5))
        found.append(combine([simulate(question, values, num_parts) for values in contrasts]))
    return found.count(SUPPORTED) / num_studies, found.count(REFUTED) / num_studies


@pytest.mark.parametrize("num_studies", [500, pytest.param(4000, marks=pytest.mark.slow)])
def test_a_claim_whose_parts_are_all_true_is_seldom_refuted(num_studies: int):
    _, refuted = shares(np.full(3, 0.5), num_studies, margin=0.5)  # the smallest effects that matter
    assert 0.008 < refuted < 0.05  # without the wider interval, 7 %


@pytest.mark.slow
def test_a_claim_with_an_untrue_part_is_seldom_supported():
    supported, _ = shares(np.array([0.0, 0.5, 0.5]), 2000, margin=0.0)
    assert 0.01 < supported < 0.05


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([SUPPORTED, SUPPORTED], SUPPORTED),
        ([SUPPORTED, INCONCLUSIVE], INCONCLUSIVE),
        ([SUPPORTED, INCONCLUSIVE, REFUTED], REFUTED),
        ([REFUTED, OPEN], OPEN),
        ([], OPEN),
    ],
)
def test_a_statement_is_supported_if_all_its_parts_are(verdicts: list[Verdict], expected: Verdict):
    assert combine(verdicts) is expected
