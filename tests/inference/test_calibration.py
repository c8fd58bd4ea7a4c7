import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from lit_cnn.inference.calibration import error_interval, reliability


def test_the_error_is_that_of_torchmetrics():
    logits = 3 * torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(500) % 4
    of_ours = reliability(logits.double().softmax(dim=1).numpy(), labels.numpy())
    expected = multiclass_calibration_error(logits.double().softmax(dim=1), labels, num_classes=4, n_bins=15)
    assert of_ours.error == pytest.approx(float(expected))


def test_bins_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.92, 0.08], [0.45, 0.55], [1.0, 0.0]])
    found = reliability(probabilities, np.array([0, 1, 1, 0]), num_bins=10)
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    assert found.confidences[9] == pytest.approx((0.95 + 0.92 + 1) / 3)
    assert found.accuracies[9] == pytest.approx(2 / 3)
    assert found.accuracies[5] == 1
    assert np.isnan(found.accuracies[0])
    assert found.error == pytest.approx(0.25 * 0.45 + 0.75 * (2.87 / 3 - 2 / 3))
    assert found.mean_confidence == pytest.approx((0.95 + 0.92 + 0.55 + 1) / 4)
    # Wilson's 95 % interval of 2 of 3.
    assert (found.low[9], found.high[9]) == (pytest.approx(0.2077, abs=1e-4), pytest.approx(0.9385, abs=1e-4))


def test_no_image_has_no_error():
    found = reliability(np.zeros((0, 3)), np.zeros(0, dtype=int))
    assert np.isnan(found.error)
    assert found.counts.sum() == 0


@pytest.mark.parametrize(("shift", "least"), [(0.15, 22), (0.08, 20)])  # of 25; 85 % are 21.25, and chance is more
def test_the_interval_of_the_error_contains_the_true_one(shift: float, least: int):
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(25):  # a network that is right in c − shift of the answers of confidence c
        confidences = 0.6 + 0.4 * random.random(400)
        labels = (random.random(400) > confidences - shift).astype(int)
        found = error_interval(np.stack([confidences, 1 - confidences], axis=1), labels)
        assert found.low <= found.value <= found.high
        covered += found.low <= shift <= found.high
    assert covered >= least


def test_a_calibrated_network_may_have_no_error():
    random = np.random.default_rng(0)
    confidences = 0.5 + 0.5 * random.random(300)
    labels = (random.random(300) > confidences).astype(int)
    assert error_interval(np.stack([confidences, 1 - confidences], axis=1), labels).low == 0
