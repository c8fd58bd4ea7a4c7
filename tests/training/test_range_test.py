"""The learning-rate range test: its smoothed loss, when it ends, and what it suggests."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.plugins import MixedPrecision, Precision

from lit_cnn import LitLeNet
from lit_cnn.data import FakeImages
from lit_cnn.training.range_test import RangeTest, find_lowest, has_risen, smooth, suggest_rate

RATES = np.geomspace(1e-6, 10, 100).tolist()


def valley(lowest: float) -> list[float]:
    """Losses that fall until a rate and rise after it, until the test stops."""
    losses = [2.3 - 0.5 * math.exp(-((math.log10(rate / lowest)) ** 2)) for rate in RATES]
    return [loss + max(0.0, 100 * (rate - 50 * lowest)) for loss, rate in zip(losses, RATES, strict=True)]


@pytest.mark.parametrize("lowest", [1e-3, 1e-2, 0.1])
def test_the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_loss(lowest: float):
    # The smoothed loss is lowest somewhat later than the loss.
    assert lowest / 10 <= suggest_rate(RATES, valley(lowest)) <= lowest


def test_the_suggestion_has_three_digits():
    rate = suggest_rate(RATES, valley(1e-2))
    assert rate == float(f"{rate:.3g}")


def test_a_constant_loss_stays_itself():
    np.testing.assert_allclose(smooth([2.5] * 30), 2.5)


def test_no_rate_is_suggested_where_the_loss_never_falls():
    with pytest.raises(ValueError, match="the loss falls at none of these rates"):
        suggest_rate(RATES, np.linspace(2, 3, 100).tolist())
    with pytest.raises(ValueError, match="the loss falls at none of these rates"):
        suggest_rate(RATES, [math.nan])


def test_no_rate_is_suggested_where_the_loss_still_falls():
    with pytest.raises(ValueError, match="the loss still falls at 10: give a higher --max_lr"):
        suggest_rate(RATES, np.linspace(3, 2, 100).tolist())


def test_losses_that_are_not_finite_end_the_test_and_hide_nothing():
    losses = [*np.linspace(3, 2, 40).tolist(), math.inf]
    assert has_risen(losses)
    assert suggest_rate(RATES, losses) == float(f"{RATES[39] / 10:.3g}")


def test_the_test_ends_when_the_smoothed_loss_is_four_times_its_lowest():
    assert not has_risen([])
    assert not has_risen([1.0] * 30)
    assert not has_risen([*[1.0] * 30, 20.0])
    assert has_risen([*[1.0] * 30, 200.0])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_losses_have_no_scale_of_mixed_precision(trainer: Callable[..., Trainer], accumulate: int):
    def losses(precision: Precision) -> list[float]:
        torch.manual_seed(0)
        found = RangeTest(1e-5, 1e-3, 4)
        settings = {"max_epochs": -1, "max_steps": 4, "limit_val_batches": 0, "accumulate_grad_batches": accumulate}
        fitted = trainer(callbacks=[found], plugins=[precision], **settings)
        fitted.fit(LitLeNet(), datamodule=FakeImages(num_images=88, batch_size=11, seed=0))
        assert found.rates == found.all_rates
        return found.losses

    assert losses(MixedPrecision("16-mixed", "cpu")) == pytest.approx(losses(Precision()), rel=0.02)


def test_the_lowest_is_finite():
    assert find_lowest([3.0, 2.0, math.nan]) == 1
    assert find_lowest([3.0, math.inf]) == find_lowest([math.nan]) == 0
