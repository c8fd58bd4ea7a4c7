"""Files of results: what is resumed, what decides; and those of this project."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from claim_files import CONTENT, QUESTION, RATES, STEPS, enter, entry, finish, results_of
from conftest import ROOT

from lit_cnn.claims.describe import describe_answer, describe_scale, describe_value
from lit_cnn.claims.results import Results
from lit_cnn.claims.study import RESULTS, read_claims
from lit_cnn.claims.verdict import Verdict

EXPERIMENTS = ROOT / "experiments"


# The results of this project


@pytest.mark.parametrize("folder", [EXPERIMENTS, EXPERIMENTS / "trials"], ids=["claims", "trials"])
def test_stored_verdicts_follow_from_the_stored_values(folder: Path):
    claims = {claim.path.stem: claim for claim in read_claims(folder)}
    paths = list((folder / RESULTS).glob("*.json"))
    assert paths
    for path in paths:
        results = Results.read(folder, claims[path.stem])
        verdict = Verdict.OPEN if results.missing() else results.decide()
        assert results.verdict == verdict.value, path.stem
        assert results.digests[-1]["digest"] == results.claim.digest, f"{path.stem}: run it again, its file has changed"


# Verdicts


@pytest.mark.parametrize(("gain", "verdict"), [(5, "supported"), (-5, "refuted"), (0.5, "inconclusive")])
def test_the_verdict_comes_from_the_pairs_of_the_study(tmp_path: Path, gain: float, verdict: str):
    results = results_of(tmp_path, seeds=[0, 1, 2, 3])
    finish(results, lambda cell: entry(50 + 10 * cell.seed % 3 + (cell.arm == "batch") * (gain + cell.seed)))
    assert results.decide().value == verdict
    (answer,) = results.answers()
    assert answer.interval.value == pytest.approx(gain + 1.5)
    assert answer.n == 4
    assert describe_scale(results) == "digits, 60 training and 40 test images, 1 epoch, 4 seeds"


def test_questions_that_do_not_decide_are_only_told(tmp_path: Path):
    other = QUESTION | {"text": "BatchNorm is worse", "expect": "below", "decides": False}
    results = results_of(tmp_path, questions=[QUESTION, other])
    finish(results, lambda cell: entry(50 + (cell.arm == "batch") * (9 + cell.seed / 10) + cell.seed))
    assert results.decide() is Verdict.SUPPORTED
    assert describe_answer(results.answers()[1]) == (
        "BatchNorm is worse (does not decide): refuted "
        "(difference 9.05, 95 % interval 8.41 to 9.69; asked: below 0.00, margin 1.00)"
    )


def test_a_fact_that_does_not_hold_refutes(tmp_path: Path):
    results = results_of(tmp_path)
    finish(results, lambda cell: entry(50 + (cell.arm == "batch") * (9 + cell.seed / 10) + cell.seed))
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


def test_steps_to_what_is_reached_at_once_are_upper_bounds(tmp_path: Path):
    """The running mean begins at its window: both arms may have been there before, at different steps."""
    soon = QUESTION | {"measure": "steps", "contrast": {"plain": 1, "batch": -1}, "scale": "log", "threshold": 1.25}
    results = results_of(tmp_path, questions=[soon | {"expect": "below", "margin": 0}], tuning=STEPS, seeds=[0, 1, 2, 3, 4])
    finish(results, lambda _: entry(1, planned=90))
    (answer,) = results.answers()
    assert (answer.verdict, answer.num_upper_bounds, answer.num_values) == (Verdict.INCONCLUSIVE, 10, 10)
    assert describe_answer(answer).endswith("; 10 of 10 values are upper bounds")


def test_a_mean_over_some_of_the_seeds_tells_over_how_many(tmp_path: Path):
    results = results_of(tmp_path)
    finish(results, lambda cell: entry(None if (cell.arm, cell.seed) == ("plain", 1) else 50.0 + cell.seed))
    assert describe_value(results, "plain", "test_accuracy") == "50.00 (1 of 2)"
    assert describe_value(results, "batch", "test_accuracy") == "50.50 ± 0.71"


def test_a_sweep_gives_the_largest_stable_rate(tmp_path: Path):
    measures = CONTENT["measures"] | {"stable": {"measure": "largest_stable_rate", "of": "test_accuracy"}}
    higher = QUESTION | {"measure": "stable", "scale": "log", "threshold": 1}
    results = results_of(tmp_path, measures=measures, questions=[higher], sweep=True, seeds=[0, 1, 2, 3, 4])
    assert len(results.study_cells()) == 2 * 3 * 5  # arms, rates, seeds
    finish(results, lambda cell: entry(None if cell.arm == "plain" and cell.rate > 0.1 else 50.0))
    (answer,) = results.answers()
    assert (answer.interval.value, answer.verdict) == (pytest.approx(10), Verdict.SUPPORTED)
    assert (answer.num_bounds, answer.num_values) == (5, 10)  # with BatchNorm, the grid ends first
    assert describe_answer(answer).startswith("BatchNorm is better: supported (ratio 10.00, the same 5 times; ")


def test_an_arm_without_a_stable_rate_is_told(tmp_path: Path):
    measures = CONTENT["measures"] | {"stable": {"measure": "largest_stable_rate", "of": "test_accuracy"}}
    higher = QUESTION | {"measure": "stable", "scale": "log", "threshold": 1}
    results = results_of(tmp_path, measures=measures, questions=[higher], sweep=True)
    finish(results, lambda cell: entry(10.0 if cell.arm == "plain" and cell.seed == 1 else 50.0))
    assert describe_answer(results.answers()[0]) == (
        "BatchNorm is better: inconclusive; plain has no stable rate with 1 of 2 seeds"
    )


def test_one_of_several_deciding_questions_refutes_with_a_wider_interval(tmp_path: Path):
    def verdict_of(num_deciding: int) -> Verdict:
        right = QUESTION | {"expect": "below", "margin": 0}
        more = [right | {"decides": number < num_deciding} for number in range(1, 4)]
        results = results_of(tmp_path, questions=[QUESTION | {"margin": 0}, *more], seeds=[0, 1, 2, 3, 4])
        finish(results, lambda cell: entry(50 + (cell.arm == "batch") * (cell.seed - 2 - 2.2) + cell.seed))
        return results.decide()

    # The 95 % interval of the difference is -4.16 to -0.24, that of 1 - 0.05 / 3 is -4.95 to 0.55.
    assert verdict_of(1) is Verdict.REFUTED
    assert verdict_of(3) is Verdict.INCONCLUSIVE


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
