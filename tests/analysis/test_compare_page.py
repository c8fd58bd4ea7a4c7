"""The page of a comparison, and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fake_runs import write_arm, write_predictions, write_run
from html_pages import check_page

from lit_cnn.analysis import compare_plots
from lit_cnn.analysis.arms import read_arms
from lit_cnn.analysis.compare_page import write_comparison
from lit_cnn.analysis.comparison import Comparison, compare
from lit_cnn.analysis.disagreements import find_disagreements
from lit_cnn.analysis.run_images import data_of_run
from lit_cnn.runs.folder import Run
from lit_cnn.runs.predictions import RunPredictions

SECTIONS = ["summary", "differences", "arms", "tests", "cost", "curves", "images", "budget", "settings", "runs"]
ODD = "_<b>ש$x$&amp;"


def page_of(*folders: Path, **options: Any) -> str:
    arms = read_arms(folders)
    return write_comparison(arms, compare(arms, **options))


def sections(text: str) -> dict[str, str]:
    parts = text.split("<section ")[1:]
    return {part.split('id="')[1].split('"')[0]: " ".join(part.split()) for part in parts}


def comparison_of(tmp_path: Path, arms: Mapping[str, Sequence[float]], **options: Any) -> Comparison:
    folders = [write_arm(tmp_path / name, list(values)) for name, values in arms.items()]
    return compare(read_arms(folders), **options)


def answer(run: Run, wrong: Mapping[int, int]) -> None:
    """Predictions for the run's own test images, right but for some positions, which get other classes."""
    module = data_of_run(run)
    module.setup("test")
    images = module.splits["test"]
    labels = images.labels.numpy()
    answers = labels.copy()
    for position, shift in wrong.items():
        answers[position] = (labels[position] + shift) % 10
    names = [images.name(position) for position in range(len(labels))]
    logits = np.eye(10, dtype=np.float32)[answers]
    RunPredictions(names, labels, logits, module.class_names, module.test_digest).write(run.predictions["test"])
    found = {"test/acc": float((answers == labels).mean()), "test/images": len(labels), "test/digest": module.test_digest}
    run.add_results(found)


@pytest.fixture
def digits(tmp_path: Path) -> list[Path]:
    return write_digits(tmp_path)


def write_digits(folder: Path) -> list[Path]:
    """Two arms of three seeds, whose images are there."""
    folders = [folder / "plain", folder / ODD]
    classes = {"classes": list("0123456789")}
    for arm, lr, extra in zip(folders, (0.02, 0.1), ({}, {7: 1, 8: 2}), strict=True):
        for seed in range(3):
            run = write_run(arm / f"seed-{seed}", seed, settings={"model.lr": lr}, data=classes)
            (run.path / "data.json").unlink()  # which would name files that the fake has not
            answer(run, {seed: 1, 20 + seed: 1} | extra if seed or not extra else {0: 1})
    return folders


def test_a_page_has_verdicts_figures_tables_and_images(digits: list[Path]):
    text = page_of(*digits)
    page, parts = check_page(text), sections(text)
    assert list(parts) == SECTIONS
    assert len(text.encode()) < 300_000
    assert compare(read_arms(digits)).pairs[0].verdict in page.text
    assert page.tags.count("svg") == 1 + 1 + 1 + 2  # differences, arms, seconds, accuracy and loss of validation
    assert "0.02" in parts["settings"]
    assert "model.lr" in parts["settings"]
    assert parts["runs"].count("seed-") == 6
    # Two of three networks of the second arm take the images 7 and 8 for others.
    assert parts["images"].count("<img") == 2
    assert f">{Run(digits[0] / 'seed-0').read_predictions('test').images[7]}<" in parts["images"]
    assert "(1 of 3 right)" in parts["images"]
    assert ODD in page.text
    assert "<b>" not in text


def test_disagreements_are_of_majorities(digits: list[Path]):
    one, other = read_arms(digits)
    only_one, only_other = find_disagreements(one, other, "test")
    assert [found.position for found in only_one] == [7, 8]
    assert only_other == []
    first, second = only_one[1].answers
    assert (first.num_right, first.num_networks, first.is_right) == (3, 3, True)
    assert (second.num_right, second.num_networks, second.is_right) == (1, 3, False)
    assert first.predicted == only_one[1].label
    assert int(second.predicted) == (int(first.predicted) + 2) % 10


def test_the_clearest_disagreements_come_first(tmp_path: Path):
    wrong = ([0, 1], [0, 1, 2], [0, 1, 2])
    for seed in range(3):
        write_predictions(write_run(tmp_path / "a" / str(seed), seed), ~np.isin(np.arange(10), [9]))
        write_predictions(write_run(tmp_path / "b" / str(seed), seed), ~np.isin(np.arange(10), wrong[seed]))
    only_a, only_b = find_disagreements(*read_arms([tmp_path / "a", tmp_path / "b"]), "test")
    assert [found.position for found in only_a] == [0, 1, 2]
    assert [found.file for found in only_b] == ["#9"]


def test_networks_that_are_wrong_in_different_ways_name_a_wrong_class(tmp_path: Path):
    for arm, answers in (("a", (1, 1, 1)), ("b", (1, 0, 0))):
        for seed, answer in enumerate(answers):
            run = write_run(tmp_path / arm / str(seed), seed, accuracy=0.5 * (answer == 1))
            shift = 2 if (arm, seed) == ("b", 2) else 0
            logits = np.eye(3, dtype=np.float32)[[answer + shift, 0]]
            RunPredictions(["#0", "#1"], np.array([1, 1]), logits, ["x", "y", "z"]).write(run.predictions["test"])
    (found,), none = find_disagreements(*read_arms([tmp_path / "a", tmp_path / "b"]), "test")
    assert none == []
    assert found.answers[0].predicted == "y"
    assert found.answers[1].predicted in "xz"


def test_seeds_with_other_validation_images_vote_on_those_that_they_had(tmp_path: Path):
    for arm, wrong in (("a", 0), ("b", 1)):
        for seed in range(2):
            run = write_run(tmp_path / arm / str(seed), seed)
            names = [f"#{number + 4 * seed}" for number in range(8)]
            write_predictions(run, np.arange(8) != wrong, "val", names)
    only_a, only_b = find_disagreements(*read_arms([tmp_path / "a", tmp_path / "b"]), "val")
    assert [(found.file, found.answers[1].num_networks) for found in only_a] == [("#1", 1)]
    assert [(found.file, found.answers[1].num_networks) for found in only_b] == [("#0", 1)]


def test_without_images_or_predictions_one_sentence_is_shown_instead(tmp_path: Path):
    arms = [write_arm(tmp_path / name, values) for name, values in (("a", [0.5, 0.6]), ("b", [0.7, 0.75]))]
    text = sections(page_of(*arms))["images"]
    assert "Not shown: a and b are not compared by image" in text
    assert "lit-cnn test --run" in text
    for arm, right in zip(arms, (5, 8), strict=True):
        for seed in range(2):
            write_predictions(Run(arm / f"seed-{seed}"), np.arange(10) < right + seed)
    settings = {"data": {"class_path": "lit_cnn.MNIST", "init_args": {"data_dir": "nowhere"}}}
    for config in tmp_path.glob("*/*/config.yaml"):
        content = yaml.safe_load(config.read_text(encoding="utf-8")) | settings
        config.write_text(yaml.safe_dump(content), encoding="utf-8")
        (config.parent / "data.json").unlink()
    text = page_of(*arms)
    assert "Not shown: the images of mnist are not there" in sections(text)["images"]
    check_page(text)


def test_one_seed_and_a_loss_have_a_page(tmp_path: Path):
    arms = [write_run(tmp_path / name, results={"test/loss": loss}).path for name, loss in (("a", 0.4), ("b", 0.5))]
    text = page_of(*arms, metric="loss")
    parts = sections(text)
    assert "no difference has an interval" in parts["differences"]
    assert "0.4000" in parts["arms"]
    check_page(text)


def test_the_front_is_what_no_other_arm_beats():
    assert compare_plots.pareto_front([3, 1, 2, 2], [0.9, 0.5, 0.7, 0.4]) == [1, 2, 0]
    assert compare_plots.pareto_front([3, 1, 2], [0.5, 0.9, 0.7]) == [1]
    assert compare_plots.pareto_front([3, 1, 2], [0.5, 0.9, 0.7], higher_is_better=False) == [1, 2, 0]
    assert compare_plots.pareto_front([1, 1], [0.5, 0.5]) == [0, 1]


def test_the_forest_has_an_interval_for_each_pair_and_the_margin(tmp_path: Path):
    comparison = comparison_of(tmp_path, {"a": [0.5, 0.6, 0.55], "b": [0.61, 0.68, 0.66], "c": [0.5, 0.61, 0.56]})
    names = {name: name.upper() for name in "abc"}
    figure = compare_plots.draw_differences(comparison, names)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["B", "C"]
    lines = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 2]
    expected = [(100 * pair.difference.low, 100 * pair.difference.high) for pair in comparison.pairs]
    assert np.allclose(lines, expected)
    (band,) = axes.patches
    assert band.get_extents().width > 0
    assert axes.get_xlabel() == "difference of accuracy in points\nto A"


def test_the_forest_of_all_pairs_names_both_arms(tmp_path: Path):
    comparison = comparison_of(tmp_path, {"a": [0.5, 0.6], "b": [0.61, 0.68], "c": [0.5, 0.62]}, all_pairs=True)
    (axes,) = compare_plots.draw_differences(comparison, {name: name for name in "abc"}).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b\n− a", "c\n− a", "c\n− b"]


def test_costs_that_one_arm_does_not_tell_are_left_out(tmp_path: Path):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", accuracy=0.6)
    titles = [title for title, _ in compare_plots.draw_costs(compare(read_arms([a.path, b.path])), {"a": "a", "b": "b"})]
    assert titles == ["multiply-adds of an image", "parameters", "seconds of training"]
    own = write_run(tmp_path / "own", settings={"model.variant": "own"})
    titles = [
        title for title, _ in compare_plots.draw_costs(compare(read_arms([a.path, own.path])), {"a": "a", "own": "own"})
    ]
    assert titles == ["seconds of training"]


def test_curves_are_means_in_bands(tmp_path: Path):
    folder = write_arm(tmp_path / "a", [0.5, 0.7])
    arms = read_arms([folder, write_run(tmp_path / "b", accuracy=0.4).path])
    (title, figure), _ = compare_plots.draw_curves(arms, {"a": "_a", "b": "b"})
    (axes,) = figure.axes
    assert title == axes.get_ylabel() == "validation accuracy in %"
    assert [line.get_ydata().tolist() for line in axes.lines] == [[60, 60], [40, 40]]
    (band,) = axes.collections
    assert (band.get_paths()[0].get_extents().ymin, band.get_paths()[0].get_extents().ymax) == pytest.approx((50, 70))
    assert [text.get_text().strip() for text in axes.get_legend().get_texts()] == ["_a", "b"]
