"""McNemar's tests: against a published worked example, against each other, and against simulated studies."""

import time

import numpy as np
import pytest
from scipy import stats

from lit_cnn.analysis.mcnemar import mcnemar, mcnemar_over_seeds


def test_exact_mcnemar_of_fagerland():
    # Airway hyper-responsiveness of 21 children: Fagerland et al. 2013, BMC Med. Res. Methodol. 13:91, Table 1: 1 against 7.
    assert mcnemar(1, 7) == mcnemar(7, 1) == pytest.approx(0.0703, abs=5e-5)
    assert mcnemar(0, 0) == 1


def test_several_seeds_of_an_image_count_as_one_image():
    net = [1] * 7 + [-1] + [0] * 12
    assert mcnemar_over_seeds(net) == pytest.approx(mcnemar(7, 1))
    # The same answers from three seeds are no more images.
    assert mcnemar_over_seeds(3 * np.array(net)) == pytest.approx(mcnemar(7, 1))
    # All 2**6 signs of 1 2 2 3 5 5: a sum of 18 is reached by 18 alone.
    assert mcnemar_over_seeds([1, 2, 2, 3, 5, 5]) == pytest.approx(2 / 64)
    assert mcnemar_over_seeds([-1, 2, 2, 3, 5, 5]) == pytest.approx(4 / 64)
    assert mcnemar_over_seeds([0, 0]) == mcnemar_over_seeds([]) == 1


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 9), (5, 5), (5, 6), (100, 300), (20, 1000), (0, 5000)])
def test_images_of_one_seed_have_the_p_value_of_mcnemar(only_first: int, only_second: int):
    for factor in (1, 3):
        net = np.repeat([-factor, factor], [only_first, only_second])
        assert mcnemar_over_seeds(net) == pytest.approx(mcnemar(only_first, only_second), rel=1e-9)


def test_many_images_and_seeds_take_no_time():
    random, started = np.random.default_rng(0), time.process_time()
    net = random.integers(-20, 21, 50_000)
    z = abs(net.sum()) / np.sqrt((net**2).sum())
    assert mcnemar_over_seeds(net) == pytest.approx(2 * stats.norm.sf(z), rel=0.01)
    assert 0 < mcnemar_over_seeds(net + (random.random(50_000) < 0.9)) < 1e-25
    assert time.process_time() - started < 2


def test_images_decide_falsely_in_at_most_5_percent_of_studies():
    random = np.random.default_rng(0)
    rates = []
    for _ in range(500):
        difficulty = random.uniform(0.5, 1, 200)  # of each image, shared by both arms and all seeds
        one, other = (random.random((2, 3, 200)) < difficulty).sum(axis=1)
        rates.append(mcnemar_over_seeds(other - one) < 0.05)
    assert np.mean(rates) <= 0.06  # 5 % and twice its standard error
