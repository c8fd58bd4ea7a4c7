"""Arms compared image by image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import all_but, write_arm, write_arm_with_predictions, write_predictions, write_run
from scipy import stats

from lit_cnn.analysis.arms import read_arms
from lit_cnn.analysis.comparison import compare
from lit_cnn.analysis.disagreements import find_disagreements
from lit_cnn.analysis.mcnemar import mcnemar
from lit_cnn.runs.folder import Run
from lit_cnn.training.class_scores import wilson


def test_one_seed_has_an_interval_over_images_only(tmp_path: Path):
    a = write_arm_with_predictions(tmp_path / "a", [all_but(*range(12))])
    b = write_arm_with_predictions(tmp_path / "b", [all_but(0, 1, 20)])
    comparison = compare(read_arms([a, b]))
    low, high = wilson(np.array([28]), np.array([40]))
    first = comparison.arms[0]
    assert (first.sd, first.interval_over) == (None, "images")
    assert (first.interval.low, first.interval.high) == pytest.approx((low[0], high[0]))
    (pair,) = comparison.pairs
    assert (pair.p, pair.equivalence_p) == (None, None)
    assert (pair.images.only_first, pair.images.only_second) == ((1,), (10,))
    assert pytest.approx(pair.images.p) == pair.images.p_by_seed[0] == pytest.approx(mcnemar(1, 10))
    assert pair.images.difference.value == pytest.approx(9 / 40)
    assert pair.verdict.startswith("the networks of a and b differ by +22.50 points, 95 % interval ")
    assert pair.verdict.endswith("one seed does not decide whether b is better than a: train more seeds")


def test_seeds_do_not_multiply_images(tmp_path: Path):
    wrong = [all_but(*range(12)), all_but(*range(11)), all_but(*range(12))]
    a = write_arm_with_predictions(tmp_path / "a", wrong)
    b = write_arm_with_predictions(tmp_path / "b", [all_but(0, 1, 20), all_but(0, 1, 20), all_but(0, 21)])
    images = compare(read_arms([a, b])).pairs[0].images
    assert (images.num_images, images.seeds) == (40, ("0", "1", "2"))
    assert (images.only_first, images.only_second) == ((1, 1, 1), (10, 9, 11))
    assert images.difference.value == pytest.approx((9 + 8 + 10) / 120)
    assert images.p_by_seed[0] / 5 < images.p < images.p_by_seed[1]


def test_images_are_the_same_wherever_their_folder_lay(tmp_path: Path):
    for arm, wrong in (("a", (0, 1)), ("b", (1, 2, 3))):
        for seed in range(2):
            run = write_run(tmp_path / arm / str(seed), seed)
            names = [f"/home/{arm}{seed}/photos/ant/{number}.png" for number in range(40)]
            write_predictions(run, all_but(*wrong), images=names)
            with np.load(run.predictions["test"]) as arrays:
                earlier = {name: array for name, array in arrays.items() if name != "folder"}
            np.savez(run.predictions["test"], **earlier)
    images = compare(read_arms([tmp_path / "a", tmp_path / "b"])).pairs[0].images
    assert (images.num_images, images.only_first, images.only_second) == (40, (2, 2), (1, 1))


@pytest.mark.parametrize("num_networks", [1, 3])
def test_the_interval_over_images_is_that_of_two_more_images(tmp_path: Path, num_networks: int):
    """Bonett and Price 2012: as if each arm alone recognised one more image."""
    a = write_arm_with_predictions(tmp_path / "a", [all_but(*range(5))] * num_networks)
    b = write_arm_with_predictions(tmp_path / "b", [all_but()] * num_networks)
    difference = compare(read_arms([a, b])).pairs[0].images.difference
    outcomes = np.array([1.0] * 5 + [0.0] * 35 + [1.0, -1.0])
    half = stats.t.ppf(0.975, 41) * outcomes.std(ddof=1) / np.sqrt(42)
    assert (difference.low, difference.high) == pytest.approx((5 / 42 - half, 5 / 42 + half))
    assert difference.value == pytest.approx(5 / 40)


def test_networks_that_agree_on_all_images_may_differ_on_others(tmp_path: Path):
    folders = [write_arm_with_predictions(tmp_path / name, [all_but(3)]) for name in "ab"]
    difference = compare(read_arms(folders)).pairs[0].images.difference
    assert difference.value == 0
    assert difference.low == pytest.approx(-difference.high)
    assert 0.05 < difference.high < 0.1


def test_images_are_the_same_whichever_folder_they_are_named_from(tmp_path: Path):
    for arm, folder in (("a", "ant/"), ("b", "photos/ant/")):
        names = [f"{folder}{number}.png" for number in range(40)]
        write_predictions(write_run(tmp_path / arm), all_but(1), images=names)
    arms = read_arms([tmp_path / "a", tmp_path / "b"])
    assert compare(arms).pairs[0].images.num_images == 40
    assert find_disagreements(*arms, "test") == ([], [])


def test_images_of_several_folders_stay_apart(tmp_path: Path):
    """Each seed's validation set is one folder, and their files have the same names."""
    for arm, wrong in (("a", (0, 1)), ("b", (1, 2))):
        for seed in range(2):
            names = [f"v{seed}/{number}.png" for number in range(40)]
            write_predictions(write_run(tmp_path / arm / str(seed), seed), all_but(*wrong), "val", names)
    arms = read_arms([tmp_path / "a", tmp_path / "b"])
    assert compare(arms, split="val").pairs[0].images.num_images == 80
    (first,), (second,) = find_disagreements(*arms, "val")
    assert (first.answers[0].num_networks, second.answers[0].num_networks) == (1, 1)  # of the seed that has the image


def test_images_may_contradict_seeds(tmp_path: Path):
    a = write_arm_with_predictions(tmp_path / "a", [all_but(1, 2, seed + 9) for seed in range(4)])
    b = write_arm_with_predictions(tmp_path / "b", [all_but(seed + 9, *[3] * (seed == 3)) for seed in range(4)])
    (pair,) = compare(read_arms([a, b])).pairs
    assert pair.p < 0.05 < pair.images.p
    assert pair.verdict.endswith("; other images could decide otherwise (exact McNemar p = 0.5)")


def test_images_may_find_the_other_arm_better(tmp_path: Path):
    """Over all seeds, b is better; of the only seed that both have, a."""
    num_wrong = {"a": dict.fromkeys(range(9), 20) | {9: 0}, "b": dict.fromkeys(range(10, 19), 2) | {9: 12}}
    for arm, by_seed in num_wrong.items():
        for seed, number in by_seed.items():
            run = write_run(tmp_path / arm / str(seed), seed, accuracy=1 - number / 40)
            write_predictions(run, all_but(*range(number)))
    (pair,) = compare(read_arms([tmp_path / "a", tmp_path / "b"])).pairs
    assert pair.verdict.startswith("b is better than a by ")
    assert pair.verdict.endswith("; yet the networks of seed 9 differ the other way (exact McNemar p = 0.00049)")


def test_validation_images_of_each_seed_are_known_by_their_names(tmp_path: Path):
    for arm, wrong in (("a", (0, 1)), ("b", (1, 2))):
        for seed in range(2):
            run = write_run(tmp_path / arm / str(seed), seed)
            names = [f"#{number + 20 * seed}" for number in range(40)]  # half of them are those of the other seed
            write_predictions(run, all_but(*wrong), "val", names)
    images = compare(read_arms([tmp_path / "a", tmp_path / "b"]), split="val").pairs[0].images
    assert images.num_images == 60
    assert images.difference.value == pytest.approx(0)
    assert images.p == 1


def test_single_runs_of_other_seeds_are_paired_on_the_same_images_only(tmp_path: Path):
    runs = [write_run(tmp_path / name, seed) for seed, name in enumerate("ab")]
    for seed, run in enumerate(runs):
        write_predictions(run, all_but(seed))
        write_predictions(run, all_but(seed), "val", [f"#{number + seed}" for number in range(40)])
    arms = read_arms(run.path for run in runs)
    assert compare(arms).pairs[0].images.seeds == ("0 and 1",)
    comparison = compare(arms, split="val")
    assert comparison.pairs[0].images is None
    assert comparison.notes == (
        "the arms have other validation images, because the seeds of their splits differ",
        "validation accuracies are the best of 2 epochs, chosen on these images",
        "a and b are not compared by image: their seeds have other validation images",
    )
    assert comparison.pairs[0].verdict == "a and b cannot be decided with one seed; train more seeds"


def test_missing_predictions_name_the_command_and_seeds_still_decide(tmp_path: Path):
    accuracies = {"plain": [0.5, 0.51, 0.52, 0.5, 0.53], "bn": [0.7, 0.72, 0.71, 0.71, 0.72]}
    comparison = compare(read_arms([write_arm(tmp_path / name, values) for name, values in accuracies.items()]))
    assert comparison.pairs[0].p < 0.05
    run = tmp_path / "plain" / "seed-0"
    assert comparison.notes == (
        f"plain and bn are not compared by image: {run} has no test predictions: write them with lit-cnn test --run {run}, "
        f"likewise for all 10 such runs",
    )


@pytest.mark.parametrize(
    "measured", [{"test/acc": 0.5}, {"test/checkpoint": "checkpoints/best.ckpt"}, {"test/digest": "f" * 32}], ids=str
)
def test_predictions_of_another_evaluation_are_not_used(tmp_path: Path, measured: dict[str, Any]):
    folders = [write_arm_with_predictions(tmp_path / name, [all_but(1), all_but(2)]) for name in "ab"]
    for run in (run for folder in folders for run in folder.iterdir()):
        Run(run).add_results(measured)
    comparison = compare(read_arms(folders))
    assert comparison.pairs[0].images is None
    assert "are of another evaluation than its results" in comparison.notes[0]


def test_a_single_image_has_no_spread(tmp_path: Path):
    folders = [write_arm_with_predictions(tmp_path / name, [np.ones(1, bool)]) for name in "ab"]
    comparison = compare(read_arms(folders))
    assert comparison.pairs[0].images is None
    assert comparison.notes == ("a and b are not compared by image: they have one image",)
    assert comparison.arms[0].interval.high == 1


def test_without_predictions_one_run_has_no_interval(tmp_path: Path):
    runs = [write_run(tmp_path / name) for name in "ab"]
    assert [arm.interval for arm in compare(read_arms(run.path for run in runs)).arms] == [None, None]
