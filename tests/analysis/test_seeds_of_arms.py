"""How the seeds of runs vary."""

from __future__ import annotations

from typing import Any

import pytest

from lit_cnn.analysis.seeds import Seed, describe_pattern, fixed_sources, seed_of, vary_together


def settings(first: int, **data: int | None) -> dict[str, Any]:
    return {"seed_everything": first, "data": {"init_args": data}}


def test_seeds_of_the_data_follow_unless_they_are_given():
    assert seed_of(settings(3)) == (3, 3, 3, 3)
    assert seed_of({"seed_everything": None}) == (0, 0, 0, 0)
    assert seed_of(settings(3, seed=5, split_seed=1)) == (3, 5, 5, 1)
    assert str(seed_of(settings(3, split_seed=1))) == "3/3/3/1"


@pytest.mark.parametrize(
    ("seeds", "together", "fixed"),
    [
        ([(0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2)], True, ()),
        ([(0, 0, 0, 0)], True, ()),
        ([(0, 7, 7, 0), (1, 7, 7, 1)], True, ("order", "augmentation")),
        ([(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0)], False, ("augmentation", "split")),
        ([(0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 1)], False, ()),
    ],
)
def test_runs_with_seeds_of_their_own_are_independent(seeds: list[tuple[int, ...]], together: bool, fixed: tuple[str, ...]):
    named = [Seed(*seed) for seed in seeds]
    assert vary_together(named) is together
    assert fixed_sources(named) == fixed


def test_a_pattern_tells_what_was_fixed():
    def pattern(*runs: dict[str, Any]) -> list[str]:
        return list(describe_pattern(runs).values())  # seed, augmentation_seed, split_seed

    assert pattern(settings(0), settings(1)) == ["null", "null", "null"]
    assert pattern(settings(0, seed=0), settings(1, seed=0)) == ["0", "null", "null"]
    assert pattern(settings(0, split_seed=1), settings(0, split_seed=2)) == ["null", "null", "varied"]
    # What would be so without it is no difference.
    assert pattern(settings(4, seed=4, split_seed=4)) == ["null", "null", "null"]
