"""Differences of arms over seeds, and what is concluded from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import write_arm, write_run
from scipy import stats

from lit_cnn.analysis.arms import read_arms
from lit_cnn.analysis.comparison import Comparison, compare
from lit_cnn.analysis.pairs import MEASURES

PLAIN = [0.890, 0.886, 0.893, 0.888, 0.891]
BETTER = [0.897, 0.891, 0.899, 0.895, 0.898]


def of(tmp_path: Path, arms: Mapping[str, Any], **options: Any) -> Comparison:
    """Compares arms of fake runs: by name, accuracies by seed."""
    folders = [
        write_arm(tmp_path / "lenet" / name, accuracies, settings={"model.lr": 0.01 * (number + 1)})
        for number, (name, accuracies) in enumerate(arms.items())
    ]
    return compare(read_arms(folders), **options)


def test_arms_and_their_paired_difference(tmp_path: Path):
    comparison = of(tmp_path, {"plain": PLAIN, "bn": BETTER})
    assert (comparison.split, comparison.metric, comparison.margin) == ("test", "acc", 0.005)
    plain, bn = comparison.arms
    assert (plain.name, plain.seeds, plain.values, plain.interval_over) == ("plain", tuple("01234"), tuple(PLAIN), "seeds")
    assert (bn.mean, bn.sd) == pytest.approx((np.mean(BETTER), np.std(BETTER, ddof=1)))
    (pair,) = comparison.pairs
    expected = stats.ttest_rel(BETTER, PLAIN)
    assert pair.p == pair.p_adjusted == pytest.approx(expected.pvalue)
    assert (pair.difference.low, pair.difference.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert pair.verdict == "bn is better than plain by 0.64 points (95 % interval 0.53 to 0.75, 5 seeds)"
    assert (pair.seeds_to_decide, pair.images) == (None, None)


def test_a_better_baseline_is_called_so(tmp_path: Path):
    (pair,) = of(tmp_path, {"bn": BETTER, "plain": PLAIN}).pairs
    assert pair.difference.value == pytest.approx(-0.0064)
    assert pair.verdict == "bn is better than plain by 0.64 points (95 % interval 0.53 to 0.75, 5 seeds)"


def test_a_lower_loss_is_better(tmp_path: Path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, losses in zip(folders, ((0.5, 0.52, 0.51), (0.4, 0.43, 0.41)), strict=True):
        for seed, loss in enumerate(losses):
            write_run(folder / str(seed), seed, results={"test/loss": loss})
    comparison = compare(read_arms(folders), metric="loss")
    assert comparison.margin is None
    assert comparison.pairs[0].equivalence_p is None
    assert comparison.pairs[0].verdict.startswith("b is better than a by 0.0967 (95 % interval 0.0823 to 0.1110, 3 seeds)")


def test_small_differences_are_equivalent(tmp_path: Path):
    noise = np.array([0.001, -0.001, 0.0005, -0.0007, 0.0004])
    (pair,) = of(tmp_path, {"plain": PLAIN, "same": list(PLAIN - noise)}).pairs
    assert pair.difference.value < 0  # and is not shown as -0.00
    assert pair.equivalence_p < 0.001
    assert pair.verdict.startswith(
        "plain and same are equivalent within ±0.50 points (difference +0.00 points, 90 % interval"
    )


def test_a_difference_can_be_certain_and_too_small_to_matter(tmp_path: Path):
    noise = np.array([0.001, 0.0012, 0.0011, 0.0009, 0.001])
    (pair,) = of(tmp_path, {"plain": PLAIN, "more": list(PLAIN + noise)}).pairs
    assert pair.verdict.startswith("more is better than plain by 0.10 points")
    assert pair.verdict.endswith("; yet they are equivalent within ±0.50 points (90 % interval +0.09 to +0.11)")


def test_what_is_undecided_takes_more_seeds(tmp_path: Path):
    noise = np.array([0.02, -0.01, 0.01, -0.005, 0.02])
    (pair,) = of(tmp_path, {"plain": PLAIN, "noisy": list(PLAIN + noise)}).pairs
    assert pair.p > 0.05
    assert pair.seeds_to_decide > 5
    assert pair.verdict == (
        "plain and noisy cannot be decided with 5 seeds (difference +0.70 points, 95 % interval -1.03 to +2.43); "
        f"about {pair.seeds_to_decide} would"
    )


def test_more_pairs_need_stronger_evidence(tmp_path: Path):
    arms = {"plain": [0.7, 0.71, 0.72], "b": [0.72, 0.74, 0.735], "c": [0.75, 0.7, 0.71], "d": [0.6, 0.75, 0.7]}
    with_baseline = of(tmp_path, arms)
    assert [(pair.first, pair.second) for pair in with_baseline.pairs] == [("plain", name) for name in "bcd"]
    assert with_baseline.pairs[0].p < 0.05
    assert "by Holm's method for 3 pairs); about " in with_baseline.pairs[0].verdict
    assert with_baseline.pairs[0].p_adjusted == pytest.approx(3 * with_baseline.pairs[0].p)
    everything = compare(read_arms(tmp_path / "lenet" / name for name in arms), all_pairs=True)
    assert len(everything.pairs) == 6
    assert everything.pairs[0].p_adjusted == pytest.approx(6 * everything.pairs[0].p)


def test_common_seeds_are_paired_and_others_left_out(tmp_path: Path):
    (pair,) = of(tmp_path, {"plain": PLAIN, "bn": dict(zip((1, 2, 3, 9), BETTER[1:], strict=True))}).pairs
    assert pair.seeds == ("1", "2", "3")
    assert "3 seeds" in pair.verdict


def test_without_a_common_seed_welch_decides(tmp_path: Path):
    (pair,) = of(tmp_path, {"plain": PLAIN, "bn": dict(zip(range(10, 15), BETTER, strict=True))}).pairs
    assert pair.seeds == ()
    assert pair.p == pytest.approx(stats.ttest_ind(PLAIN, BETTER, equal_var=False).pvalue)
    assert "5 and 5 seeds, none in common" in pair.verdict


def test_equal_differences_decide_nothing(tmp_path: Path):
    more, same = of(tmp_path, {"plain": [0.5, 0.6], "more": [0.525, 0.625], "same": [0.5, 0.6]}).pairs
    assert (more.difference, more.p, more.equivalence_p) == (None, None, None)
    assert more.verdict == (
        "more and plain differ by +2.50 points with each of 2 seeds: "
        "without spread, nothing can be decided; train more seeds"
    )
    assert same.verdict == "plain and same have the same accuracy with each of 2 seeds: do they differ at all?"


def test_spread_is_split_where_seeds_were_varied_apart(tmp_path: Path):
    folder = tmp_path / "lenet"
    varied = {"data.augmentation_seed": 0, "data.split_seed": 0}
    for initialisation, order, accuracy in ((0, 0, 0.5), (1, 0, 0.6), (2, 0, 0.7), (0, 1, 0.54)):
        write_run(folder / f"{initialisation}{order}", initialisation, accuracy, settings=varied | {"data.seed": order})
    other = write_arm(tmp_path / "other", [0.5, 0.6])
    spread, of_other = (arm.spread for arm in compare(read_arms([folder, other])).arms)
    assert spread == pytest.approx({"initialisation": 0.1, "order": np.std([0.5, 0.54], ddof=1)})
    assert of_other == {}


def test_few_common_seeds_throw_no_run_away(tmp_path: Path):
    comparison = of(tmp_path, {"plain": PLAIN, "bn": dict(zip(range(4, 9), BETTER, strict=True))})
    (pair,) = comparison.pairs
    assert pair.seeds == ()
    assert pair.p == pytest.approx(stats.ttest_ind(PLAIN, BETTER, equal_var=False).pvalue)
    assert "5 and 5 seeds, 1 in common" in pair.verdict
    assert comparison.notes[0] == (
        "plain and bn are compared without pairs: only 1 of their seeds is common, and 8 runs have no partner"
    )


def test_runs_that_are_left_out_are_counted(tmp_path: Path):
    comparison = of(tmp_path, {"plain": PLAIN, "bn": BETTER[:3]})
    assert comparison.pairs[0].seeds == ("0", "1", "2")
    assert comparison.notes[0] == "plain and bn are compared by their 3 common seeds; 2 other runs are left out"


def test_arms_without_common_seeds_may_be_equivalent(tmp_path: Path):
    (pair,) = of(tmp_path, {"plain": PLAIN, "same": dict(zip(range(10, 15), PLAIN, strict=True))}, margin=1).pairs
    assert pair.is_equivalent
    assert pair.verdict.startswith(
        "plain and same are equivalent within ±1.00 points (difference +0.00 points, 90 % interval"
    )


def test_a_seed_that_is_fixed_limits_the_conclusion(tmp_path: Path):
    for name, values in (("plain", PLAIN), ("bn", BETTER)):
        write_arm(tmp_path / name, values, settings={"data.seed": 0, "data.split_seed": 0})
    arms = read_arms([tmp_path / "plain", tmp_path / "bn"])
    assert compare(arms).pairs[0].verdict.endswith("5 seeds); for this order, augmentation and split alone")


def test_seeds_that_vary_apart_give_no_verdict(tmp_path: Path):
    seeds = ((0, 0, 0.5), (1, 0, 0.6), (2, 0, 0.7), (0, 1, 0.54))
    for initialisation, order, accuracy in seeds:
        settings = {"data.seed": order, "data.augmentation_seed": 0, "data.split_seed": 0}
        write_run(tmp_path / "apart" / f"{initialisation}{order}", initialisation, accuracy, settings=settings)
    comparison = compare(read_arms([write_arm(tmp_path / "plain", PLAIN), tmp_path / "apart"]))
    (pair,) = comparison.pairs
    assert (pair.difference, pair.p, pair.p_adjusted, pair.equivalence_p, pair.better) == (None,) * 5
    assert (comparison.arms[1].sd, comparison.arms[1].interval) == (None, None)
    assert set(comparison.arms[1].spread) == {"initialisation", "order"}
    assert pair.verdict.startswith("plain and apart are not decided: apart varied seeds apart")


def test_validation_accuracies_are_told_to_be_chosen(tmp_path: Path):
    comparison = of(tmp_path, {"plain": PLAIN, "bn": BETTER}, split="val")
    assert "validation accuracies are the best of 2 epochs, chosen on these images" in comparison.notes
    assert "p values are corrected for 1 pairs; intervals are not" not in comparison.notes


@pytest.mark.parametrize(
    ("monitors", "note"),
    [
        (
            ("val/loss", "val/loss"),
            "the epochs are those with the lowest validation loss of 2 epochs, chosen on these images",
        ),
        (("val/loss", "last"), "the epochs are those with the lowest validation loss of 2 epochs, chosen on these images"),
        (("last", "last"), None),
    ],
)
def test_the_note_names_what_chose_the_epochs(tmp_path: Path, monitors: tuple[str, str], note: str | None):
    for name, monitor in zip("ab", monitors, strict=True):
        for seed in (0, 1):
            write_run(tmp_path / name / f"{seed}", seed, 0.5 + 0.1 * seed, settings={"monitor": monitor})
    notes = compare(read_arms([tmp_path / "a", tmp_path / "b"]), split="val").notes
    assert [one for one in notes if "chosen on these" in one] == ([note] if note else [])


def test_intervals_of_several_pairs_are_told_not_to_be_corrected(tmp_path: Path):
    assert "p values are corrected for 2 pairs; intervals are not" in of(tmp_path, dict.fromkeys("abc", PLAIN)).notes


def test_shares_are_shown_between_0_and_100_percent():
    accuracy, loss = MEASURES["acc"], MEASURES["loss"]
    assert [accuracy.show(value) for value in (-0.1, 0.5, 1.01)] == ["0.00 %", "50.00 %", "100.00 %"]
    assert loss.show(1.5) == "1.5000"
    assert accuracy.show_difference(-0.1) == "-10.00"


def test_a_question_has_no_full_stop(tmp_path: Path):
    same, better = of(tmp_path, {"plain": PLAIN, "same": PLAIN, "bn": BETTER}).pairs
    assert same.sentence.endswith("do they differ at all?")
    assert better.sentence == f"{better.verdict}."
