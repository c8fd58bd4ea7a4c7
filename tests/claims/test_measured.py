"""What a study measures of a trained network."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from claim_files import claim_content
from torch import nn

from lit_cnn.claims import features, measured, measures
from lit_cnn.claims.design import Question, Study, Tuning
from lit_cnn.claims.measured import OF_CELLS, check_measures, measure_arms, measure_cell
from lit_cnn.claims.training import Trained, train
from lit_cnn.network.counting import count_parameters

CONTENT = claim_content()

pytestmark = pytest.mark.usefixtures("one_thread")


@functools.cache
def trained(**changes: Any) -> Trained:
    """A network on digits after a few steps."""
    arguments = {"widths": [8], "depths": [2], "norm": "batch", "schedule": "constant", "lr": 0.1} | changes
    settings = {"model": {"init_args": arguments}, "data": CONTENT["recipe"]["data"], "trainer": {"max_epochs": 2}}
    sizes = {"train_images": 200, "val_images": 100, "test_images": 100, "stop_at_loss": None}
    return train(settings | sizes, 1, Path())


@pytest.fixture
def net() -> Trained:
    return trained(block="dense")


def shares(net: Trained, split: str) -> torch.Tensor:
    images, labels = net.data.normalised(split)
    with torch.inference_mode():
        return net.model.network(images), labels


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_accuracy_is_in_points_and_in_evaluation_mode(net: Trained, split: str):
    logits, labels = shares(net, split)
    expected = 100 * (logits.argmax(1) == labels).float().mean().item()
    assert measured.accuracy(net, split) == pytest.approx(expected)
    assert 10 < expected <= 100


def test_the_gap_and_the_loss_are_of_their_splits(net: Trained):
    assert measured.gap(net) == measured.accuracy(net, "train") - measured.accuracy(net, "test")
    logits, labels = shares(net, "train")
    assert measured.loss(net) == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)


def test_training_images_are_measured_without_augmentation(net: Trained):
    images, _ = net.data.normalised("train")
    raw = net.data.source.splits["train"].pixels
    assert torch.equal(images, net.data.preprocessing(raw))


def test_steps_are_those_of_the_history(net: Trained):
    errors = [0.9] * 5 + [0.1] * 5
    history = dataclasses.replace(net.history)
    history.errors, history.losses, history.planned = errors, [2.3] * 4 + [0.1] * 6, 99
    other = dataclasses.replace(net, history=history)
    assert measured.steps_to_error(other, 0.2, window=2) == 7
    assert measured.steps_to_error(other, 0.2, window=20) == 99
    assert measured.steps_to_leave_chance(other, window=1) == 5


def test_history_counts_errors_of_each_step(net: Trained):
    assert len(net.history.errors) == len(net.history.losses) == net.history.planned == 20
    assert all(error * 20 == pytest.approx(round(error * 20)) for error in net.history.errors)  # of 20 images
    assert net.history.images == 400


def test_shifted_images_have_black_borders(net: Trained):
    images, labels = net.data.normalised("test")
    black = net.data.preprocessing(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))[0, :, 0, 0]
    expected = measures.accuracy_when_shifted(net.model, images, labels, 2, fill=black)
    assert measured.accuracy_lost_by_shifts(net, 2) == pytest.approx(measured.accuracy(net) - 100 * expected)


def test_other_sizes_have_an_accuracy_if_the_network_takes_them(net: Trained):
    assert measured.accuracy_at_size(net, 8) == measured.accuracy(net)
    assert measured.takes_size(net, 12) == 1
    flat = trained(head="linear")
    assert measured.takes_size(flat, 12) == 0
    assert measured.accuracy_at_size(flat, 12) is None


def test_no_noise_costs_nothing_and_much_noise_costs_much(net: Trained):
    assert measured.accuracy_lost_by_noise(net, 0.0) == 0
    assert measured.accuracy_lost_by_noise(net, 50.0) > 10
    assert measured.accuracy_lost_by_noise(net, 50.0) == measured.accuracy_lost_by_noise(net, 50.0)


def test_gradients_and_activations_are_of_the_first_and_the_last_convolution(net: Trained):
    start, end = (measured.gradient_ratio(net, when) for when in ("start", "end"))
    assert start > 0
    assert start != end
    deep = trained(depths=(3,), norm="none", init="normal_0.01", lr=0.01)
    assert measured.activation_decay(deep) < 0.1
    assert measured.gradient_ratio(deep) != measured.gradient_ratio(deep, "end")


def test_the_start_is_before_the_first_step(net: Trained):
    fresh, again = net.at_start(), net.at_start()
    assert all(torch.equal(one, other) for one, other in zip(fresh.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(one, other) for one, other in zip(fresh.parameters(), net.model.parameters(), strict=True))


def test_features_of_dense_blocks_are_used(net: Trained):
    assert measured.use_of_distant_features(net) > 0
    lost = measured.accuracy_lost_without(net, 0, 0)
    assert lost <= measured.accuracy(net)
    with pytest.raises(ValueError, match="source must be from 0 to 0, got 2"):
        measured.accuracy_lost_without(net, 0, 2)


def test_the_correlation_is_of_the_features_of_test_images(net: Trained):
    images, _ = net.data.normalised("test")
    expected = features.feature_correlation(net.model.network, images)
    assert measured.feature_correlation(net) == OF_CELLS["feature_correlation"](net) == expected
    assert 0 < expected < 1


# Together


def test_a_diverged_cell_keeps_the_measures_of_its_history(net: Trained):
    wanted = {"a": {"measure": "accuracy"}, "s": {"measure": "steps_to_error", "error": 0.0}, "p": {"measure": "parameters"}}
    diverged = dataclasses.replace(net, diverged=True)
    assert measure_cell(diverged, wanted) == {"a": None, "s": 20.0}
    assert measure_cell(net, wanted).keys() == {"a", "s"}


def test_what_is_not_finite_is_missing(net: Trained, monkeypatch: pytest.MonkeyPatch):
    infinite = dict(OF_CELLS) | {"loss": lambda _: math.inf}
    monkeypatch.setattr(measured, "OF_CELLS", infinite)
    assert measure_cell(net, {"l": {"measure": "loss"}}) == {"l": None}


def test_arms_have_sizes_costs_and_speeds():
    networks = {"small": nn.Conv2d(1, 2, 3), "large": nn.Conv2d(1, 4, 3)}
    images = dict.fromkeys(networks, torch.rand(2, 1, 8, 8))
    found = measure_arms(networks, images, ["memory"])
    assert {arm: values["parameters"] for arm, values in found.items()} == {"small": 20, "large": 40}
    assert {arm: values["multiply_adds"] for arm, values in found.items()} == {"small": 18 * 36, "large": 36 * 36}
    assert all(values.keys() == {"parameters", "multiply_adds", "memory"} for values in found.values())
    assert count_parameters(networks["small"]) == 20


def test_speeds_have_one_value_for_each_round(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measures, "images_per_s", lambda networks, _: [[10.04, 11.0]] * len(networks))
    networks = {"a": nn.Conv2d(1, 1, 1), "b": nn.Conv2d(1, 1, 1)}
    found = measure_arms(networks, dict.fromkeys(networks, torch.rand(1, 1, 2, 2)), ["images_per_s"])
    assert found["b"]["images_per_s"] == [10.0, 11.0]


def study(**description: Any) -> Study:
    question = Question("?", "x", {"a": 1}, "above", 0)
    named = {"x": description, "accuracy": {"measure": "accuracy", "split": "val"}}
    tuning = Tuning([0.1], [100], measure="accuracy")
    return Study({}, {"a": {}}, tuning, [0], named, [question], None, 10, None, None, True, 1)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"measure": "acuracy"}, "measures.x: there is no measure acuracy; did you mean accuracy"),
        ({"measure": "accuracy", "of": "val"}, "measures.x: accuracy: got an unexpected keyword argument 'of'"),
        ({"measure": "steps_to_error"}, "measures.x: steps_to_error: missing a required argument: 'error'"),
        ({"measure": "memory", "batch": 3}, "measures.x: memory takes no batch"),
        ({"measure": "largest_stable_rate", "of": "y"}, "measures.x: largest_stable_rate needs of, the name of a measure"),
    ],
)
def test_wrong_measures_are_told(description: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        check_measures(study(**description))


def test_right_measures_are_taken():
    check_measures(study(measure="largest_stable_rate", of="accuracy"))
    check_measures(study(measure="accuracy_lost_without", block=0, source=1))
    with pytest.raises(ValueError, match="needs of, the name of a measure, and sweep: true"):
        check_measures(dataclasses.replace(study(measure="largest_stable_rate", of="accuracy"), sweep=False))
