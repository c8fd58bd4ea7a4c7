"""What a comparison finds, refuses and says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import write_arm, write_predictions, write_run
from scipy import stats

from lit_cnn.analysis.arms import Seed, read_arms
from lit_cnn.analysis.comparison import Comparison, compare
from lit_cnn.analysis.mcnemar import mcnemar
from lit_cnn.analysis.pairs import adjust, compare_seeds
from lit_cnn.runs.folder import Run
from lit_cnn.training.class_scores import wilson

PLAIN = [0.890, 0.886, 0.893, 0.888, 0.891]
BETTER = [0.897, 0.891, 0.899, 0.895, 0.898]


def of(tmp_path: Path, arms: Mapping[str, Any], **options: Any) -> Comparison:
    """Compares arms of fake runs: by name, accuracies by seed."""
    folders = [
        write_arm(tmp_path / "lenet" / name, accuracies, settings={"model.lr": 0.01 * (number + 1)})
        for number, (name, accuracies) in enumerate(arms.items())
    ]
    return compare(read_arms(folders), **options)


# Over seeds


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
        "plain and same are equivalent within ±0.50 points (difference +0.00 points, 95 % interval"
    )


def test_a_difference_can_be_certain_and_too_small_to_matter(tmp_path: Path):
    noise = np.array([0.001, 0.0012, 0.0011, 0.0009, 0.001])
    (pair,) = of(tmp_path, {"plain": PLAIN, "more": list(PLAIN + noise)}).pairs
    assert pair.verdict.startswith("more is better than plain by 0.10 points")
    assert pair.verdict.endswith("; yet they are equivalent within ±0.50 points")


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


@pytest.mark.parametrize("num_studies", [300, pytest.param(4000, marks=pytest.mark.slow)])
def test_the_whole_procedure_errs_in_at_most_5_percent_of_studies(num_studies: int):
    random = np.random.default_rng(0)
    names, seeds = "abc", [Seed(*[number] * 4) for number in range(5)]
    errors = 0
    for accuracies in 0.9 + 0.003 * random.normal(size=(num_studies, 3, 5)):  # no arm is better
        values = {name: dict(zip(seeds, row, strict=True)) for name, row in zip(names, accuracies, strict=True)}
        pairs = adjust([compare_seeds(*pair, values, None) for pair in ("ab", "ac", "bc")])
        errors += any(pair.p_adjusted < 0.05 for pair in pairs)
    assert 0.02 <= errors / num_studies <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / num_studies)


# Over images


def write_arm_with_predictions(folder: Path, correct: list[np.ndarray], **options: Any) -> Path:
    for seed, of_seed in enumerate(correct):
        write_predictions(write_run(folder / str(seed), seed), of_seed, **options)
    return folder


def answers(*wrong: int, num_images: int = 40) -> np.ndarray:
    return ~np.isin(np.arange(num_images), wrong)


def test_one_seed_has_an_interval_over_images_only(tmp_path: Path):
    a = write_arm_with_predictions(tmp_path / "a", [answers(*range(12))])
    b = write_arm_with_predictions(tmp_path / "b", [answers(0, 1, 20)])
    comparison = compare(read_arms([a, b]))
    low, high = wilson(np.array([28]), np.array([40]))
    first = comparison.arms[0]
    assert (first.sd, first.interval_over) == (None, "images")
    assert (first.interval.low, first.interval.high) == pytest.approx((low[0], high[0]))
    (pair,) = comparison.pairs
    assert (pair.p, pair.equivalence_p) == (None, None)
    assert (pair.images.only_first, pair.images.only_second) == ((1,), (10,))
    assert pair.images.p == pair.images.p_by_seed[0] == pytest.approx(mcnemar(1, 10))
    assert pair.images.difference.value == pytest.approx(9 / 40)
    assert pair.verdict.startswith("the networks of a and b differ by +22.50 points, 95 % interval ")
    assert pair.verdict.endswith("one seed does not decide whether b is better than a: train more seeds")


def test_seeds_do_not_multiply_images(tmp_path: Path):
    wrong = [answers(*range(12)), answers(*range(11)), answers(*range(12))]
    a = write_arm_with_predictions(tmp_path / "a", wrong)
    b = write_arm_with_predictions(tmp_path / "b", [answers(0, 1, 20), answers(0, 1, 20), answers(0, 21)])
    images = compare(read_arms([a, b])).pairs[0].images
    assert (images.num_images, images.seeds) == (40, ("0", "1", "2"))
    assert (images.only_first, images.only_second) == ((1, 1, 1), (10, 9, 11))
    assert images.difference.value == pytest.approx((9 + 8 + 10) / 120)
    assert images.p_by_seed[0] / 5 < images.p < images.p_by_seed[1]


def test_images_may_contradict_seeds(tmp_path: Path):
    a = write_arm_with_predictions(tmp_path / "a", [answers(1, 2, seed + 9) for seed in range(4)])
    b = write_arm_with_predictions(tmp_path / "b", [answers(seed + 9, *[3] * (seed == 3)) for seed in range(4)])
    (pair,) = compare(read_arms([a, b])).pairs
    assert pair.p < 0.05 < pair.images.p
    assert pair.verdict.endswith("; other images could decide otherwise (exact McNemar p = 0.5)")


def test_validation_images_of_each_seed_are_known_by_their_names(tmp_path: Path):
    for arm, wrong in (("a", (0, 1)), ("b", (1, 2))):
        for seed in range(2):
            run = write_run(tmp_path / arm / str(seed), seed)
            names = [f"#{number + 20 * seed}" for number in range(40)]  # half of them are those of the other seed
            write_predictions(run, answers(*wrong), "val", names)
    images = compare(read_arms([tmp_path / "a", tmp_path / "b"]), split="val").pairs[0].images
    assert images.num_images == 60
    assert images.difference.value == pytest.approx(0)
    assert images.p == 1


def test_single_runs_of_other_seeds_are_paired_on_the_same_images_only(tmp_path: Path):
    runs = [write_run(tmp_path / name, seed) for seed, name in enumerate("ab")]
    for seed, run in enumerate(runs):
        write_predictions(run, answers(seed))
        write_predictions(run, answers(seed), "val", [f"#{number + seed}" for number in range(40)])
    arms = read_arms(run.path for run in runs)
    assert compare(arms).pairs[0].images.seeds == ("0 and 1",)
    comparison = compare(arms, split="val")
    assert comparison.pairs[0].images is None
    assert comparison.notes == ("a and b are not compared by image: their seeds have other validation images",)
    assert comparison.pairs[0].verdict == "a and b cannot be decided with one seed; train more seeds"


def test_missing_predictions_name_the_command_and_seeds_still_decide(tmp_path: Path):
    comparison = of(tmp_path, {"plain": PLAIN, "bn": BETTER})
    assert comparison.pairs[0].p < 0.05
    run = tmp_path / "lenet" / "plain" / "seed-0"
    assert comparison.notes == (
        f"plain and bn are not compared by image: {run} has no test predictions: write them with lit-cnn test --run {run}, "
        f"likewise for all 10 such runs",
    )


def test_predictions_of_another_evaluation_are_not_used(tmp_path: Path):
    folders = [write_arm_with_predictions(tmp_path / name, [answers(1), answers(2)]) for name in "ab"]
    Run(folders[0] / "0").add_results({"test/acc": 0.5})
    comparison = compare(read_arms(folders))
    assert comparison.pairs[0].images is None
    assert "are of another evaluation than its results" in comparison.notes[0]


# What cannot be compared


def refusal(*folders: Path, **options: Any) -> str:
    with pytest.raises(ValueError, match=r".") as refused:
        compare(read_arms(folders), **options)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"data": {"digest": "f" * 32}}, "their images or their labels differ (digits and digits; digests d1d1d1d1 and "),
        ({"results": {"test/digest": "f" * 32}}, "their test images or their labels differ"),
        ({"data": {"classes": ["bee", "ant"]}}, "their classes are in another order"),
        ({"data": {"classes": ["ant", "cat", "dog"]}}, "their classes differ (2 and 3 classes; only one has 'bee')"),
    ],
)
def test_other_data_are_refused(tmp_path: Path, other: dict[str, Any], message: str):
    paths = [write_run(tmp_path / "a").path, write_run(tmp_path / "b", **other).path]
    assert f"{paths[0]} and {paths[1]} cannot be compared: {message}" in refusal(*paths)


def test_another_split_is_refused(tmp_path: Path):
    a = write_run(tmp_path / "a")
    b = write_run(tmp_path / "b", settings={"data.val_fraction": 0.2})
    assert "the arms have other validation images, because data.val_fraction differs" in refusal(a.path, b.path, split="val")
    assert compare(read_arms([a.path, b.path])).split == "test"
    c = write_run(tmp_path / "c")
    write_predictions(a, answers(1), "val")
    write_predictions(c, answers(1), "val", [f"other {number}" for number in range(40)])
    assert "their val predictions are for other images" in refusal(a.path, c.path, split="val")


def test_what_was_not_measured_names_the_command(tmp_path: Path):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", accuracy=0.6)
    b.results.write_text('{"val/acc": 0.6}', encoding="utf-8")
    assert compare(read_arms([a.path, b.path])).split == "val"
    message = refusal(a.path, b.path, split="test")
    assert message == f"{b.path} has no test/acc: measure it with lit-cnn test --run {b.path}"
    assert "has no val/f1" in refusal(a.path, b.path, split="val", metric="f1")
    assert compare(read_arms([a.path, b.path]), metric="loss").arms[0].values == (1.0,)


def test_a_run_that_diverged_is_named(tmp_path: Path):
    a, b = write_run(tmp_path / "a", results={"test/loss": 0.5}), write_run(tmp_path / "b", results={"test/loss": np.nan})
    message = refusal(a.path, b.path, metric="loss")
    assert message == f"{b.path} has a test/loss of nan: its training diverged; leave it out, or train it again"


def test_arguments_out_of_range_are_refused(tmp_path: Path):
    a, b = write_run(tmp_path / "a").path, write_run(tmp_path / "b").path
    assert refusal(a) == "a comparison needs at least two arms, got 1"
    assert refusal(a, b, margin=0) == "margin must be positive, got 0"
    assert refusal(a, b, differ=["model.lr"]) == "the arms do not differ in model.lr; they differ in no setting"


# Fairness


def test_equal_budgets_and_one_difference_are_fair(tmp_path: Path):
    fairness = of(tmp_path / "runs" / "digits", {"a": [0.5], "b": [0.5]}).fairness
    assert fairness.same_budget
    assert fairness.warnings == ()
    assert [(one.setting, one.values, one.is_meant) for one in fairness.differences] == [
        ("model.lr", ("0.01", "0.02"), True)
    ]
    budget = fairness.budgets[0]
    # Two epochs of ten steps of ten images. With ten classes, LeNet takes 416,520 multiply-adds for an image.
    assert (budget.epochs, budget.images, budget.seconds) == (2, 200, 3)
    assert budget.image_multiply_adds == 416520 - 8 * 84
    assert budget.multiply_adds == 200 * budget.image_multiply_adds
    assert budget.num_parameters == 61706 - 8 * 85


def test_unequal_budgets_are_named(tmp_path: Path):
    folder = tmp_path / "runs" / "digits" / "lenet"
    arms = [write_run(folder / "a"), write_run(folder / "b", epochs=4, settings={"trainer.max_epochs": 4, "model.lr": 0.1})]
    write_run(folder / "tuned", settings={"model.lr": 0.5})
    write_run(folder / "of_another_network", settings={"model.lr": 0.7, "model.variant": "lenet_bn"})
    for run in (*arms, Run(folder / "tuned")):
        run.write_environment("cpu", "32-true", 1, "digits", "lenet")
    fairness = compare(read_arms(run.path for run in arms)).fairness
    assert [budget.rates for budget in fairness.budgets] == [2, 1]
    budgets, settings = fairness.warnings
    assert budgets == (
        "the budgets differ: epochs (by a factor of 2.0), images seen (by a factor of 2.0), "
        "multiply-adds (by a factor of 2.0), tried rates (by a factor of 2.0)"
    )
    assert settings == "the arms differ in trainer.max_epochs, model.lr: what makes the difference cannot be told apart"


def test_the_difference_that_is_meant_can_be_named(tmp_path: Path):
    a = write_run(tmp_path / "a").path
    b = write_run(tmp_path / "b", settings={"model.variant": "lenet_bn", "model.lr": 0.1}).path
    fairness = compare(read_arms([a, b]), differ=["model.variant"]).fairness
    assert [(one.setting, one.is_meant) for one in fairness.differences] == [("model.variant", True), ("model.lr", False)]
    assert "the arms also differ in model.lr: what makes the difference cannot be told apart" in fairness.warnings
    both = compare(read_arms([a, b]), differ=["model.variant", "model.lr"]).fairness
    assert not [warning for warning in both.warnings if "differ in" in warning]


def test_a_run_that_was_resumed_with_other_settings_is_named(tmp_path: Path):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    content = b.read_environment() | {"changes": [{"setting": "trainer.max_epochs"}, {"setting": "threads"}]}
    b.environment.write_text(json.dumps(content), encoding="utf-8")
    fairness = compare(read_arms([a.path, b.path])).fairness
    assert fairness.warnings == (f"{b.path} was resumed with another trainer.max_epochs",)
    assert fairness.same_budget


def test_other_image_sizes_cost_more(tmp_path: Path):
    arms = [
        write_run(tmp_path / f"{size}", settings={"model.variant": "resnet20", "data.image_size": size}) for size in (32, 64)
    ]
    small, large = compare(read_arms(run.path for run in arms)).fairness.budgets
    assert 3.9 < large.multiply_adds / small.multiply_adds <= 4
