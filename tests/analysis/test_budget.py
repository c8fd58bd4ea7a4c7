"""Whether arms had the same budget, and in which settings they differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_runs import write_run

from lit_cnn.analysis import budget
from lit_cnn.analysis.arms import read_arms
from lit_cnn.analysis.comparison import compare
from lit_cnn.runs.folder import Run


def test_equal_budgets_and_one_difference_are_fair(tmp_path: Path):
    folder = tmp_path / "runs" / "digits" / "lenet"
    runs = [write_run(folder / name, settings={"model.lr": lr}) for name, lr in (("a", 0.01), ("b", 0.02))]
    fairness = compare(read_arms(run.path for run in runs)).fairness
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


def test_images_are_those_that_were_counted(tmp_path: Path):
    every = "trainer.accumulate_grad_batches"
    runs = [write_run(tmp_path / str(number), settings={every: number}) for number in (1, 4)]
    for run in runs:
        run.write_metrics({"epoch": n, "step": 3 * n, "images": 640 * (n + 1), "val/acc": 0.5} for n in range(2))
    fairness = compare(read_arms(run.path for run in runs)).fairness
    assert [budget.images for budget in fairness.budgets] == [1280, 1280]


@pytest.mark.parametrize("is_shared", [False, True])
def test_other_numbers_of_processes_are_named(tmp_path: Path, is_shared: bool):
    settings = {"trainer.sync_batchnorm": is_shared}
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", settings=settings)]
    for run, number in zip(runs, (1, 4), strict=True):
        run.write_environment("cpu", "32-true", number, "digits", "lenet")
    fairness = compare(read_arms(run.path for run in runs)).fairness
    warning = "the runs had 1 and 4 processes: a network with BatchNorm has in each the statistics of its images"
    assert (warning in fairness.warnings) is not is_shared
    assert fairness.budgets[1].device.startswith("4 × cpu")


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


def test_seeds_that_are_fixed_in_one_arm_alone_are_a_difference(tmp_path: Path):
    free, fixed = tmp_path / "free", tmp_path / "fixed"
    for folder, settings in ((free, {}), (fixed, {"data.seed": 7, "data.split_seed": 7})):
        for seed in range(2):
            write_run(folder / str(seed), seed, 0.5 + 0.1 * seed, settings=settings)
    differences = compare(read_arms([free, fixed])).fairness.differences
    assert [(one.setting, one.values) for one in differences] == [("data.seed", ("null", "7"))]
    assert compare(read_arms([free / "0", free / "1"])).fairness.differences == ()


def test_settings_of_other_runs_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runs = [write_run(tmp_path / "lenet" / name) for name in "abcd"]
    arms, read = read_arms(run.path for run in runs), []
    monkeypatch.setattr(budget, "read_settings", lambda run: read.append(run) or arms[0].runs[0].settings)
    assert [one.rates for one in compare(arms).fairness.budgets] == [1] * 4
    assert len(read) == 4
