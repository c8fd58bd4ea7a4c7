"""The learning-rate range test: its smoothed loss, when it ends, and what it suggests."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lit_cnn.training.range_test import has_risen, smooth, suggest_rate

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
