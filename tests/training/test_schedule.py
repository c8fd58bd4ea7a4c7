import pytest

from lit_cnn.training.schedule import rate_factor


def course(schedule: str, num_steps: int = 100, warmup_ratio: float = 0.0) -> list[float]:
    factor = rate_factor(schedule, num_steps, warmup_ratio)
    return [factor(step) for step in range(num_steps + 1)]


def test_constant():
    assert set(course("constant")) == {1.0}


def test_step_falls_to_a_tenth_twice():
    factors = course("step")
    assert factors[49] == 1
    assert factors[50] == factors[74] == pytest.approx(0.1)
    assert factors[75] == pytest.approx(0.01)


def test_cosine_falls_from_one_to_zero_and_is_half_way_in_the_middle():
    factors = course("cosine")
    assert factors[0] == 1
    assert factors[50] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0, abs=1e-12)
    assert factors == sorted(factors, reverse=True)


def test_one_cycle_peaks_at_thirty_per_cent():
    factors = course("one_cycle")
    assert factors[0] == pytest.approx(1 / 25)
    assert max(range(101), key=factors.__getitem__) == 30
    assert factors[30] == pytest.approx(1)
    assert factors[100] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_warm_up_rises_linearly_into_the_schedule(schedule: str):
    factors = course(schedule, warmup_ratio=0.1)
    assert factors[:11] == pytest.approx([(step + 1) / 11 for step in range(11)])
    rates = course(schedule, num_steps=90)
    assert factors[10:] == pytest.approx(rates)


def test_past_the_end_the_rate_stays():
    factor = rate_factor("cosine", 10)
    assert factor(25) == factor(10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("linear", 10), "schedule must be one of constant, step, cosine, one_cycle, got 'linear'"),
        (("cosine", 10, 1.0), r"warmup_ratio must be at least 0 and below 1, got 1\.0"),
        (("one_cycle", 10, 0.1), "one_cycle has its own warm-up"),
    ],
)
def test_nonsense_is_refused(arguments: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        rate_factor(*arguments)
