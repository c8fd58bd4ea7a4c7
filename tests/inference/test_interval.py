from __future__ import annotations

import pytest
from scipy.stats import binomtest

from lit_cnn.inference.interval import exact_lower_bound, exact_share


@pytest.mark.parametrize(("hits", "number"), [(0, 10), (10, 10), (7, 10), (990, 1000)])
def test_exact_intervals_are_those_of_scipy(hits: int, number: int):
    found = exact_share(hits, number)
    expected = binomtest(hits, number).proportion_ci(method="exact")
    assert (found.value, found.low, found.high) == pytest.approx((hits / number, expected.low, expected.high))
    one_sided = binomtest(hits, number, alternative="greater").proportion_ci(0.99, method="exact")
    assert exact_lower_bound(hits, number, 0.01) == pytest.approx(one_sided.low)
