"""Statements that follow from definitions, checked on the layers and networks of this project.

Each check computes its numbers with the real layers and compares them with a formula.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from lit_cnn.claims.block_checks import (
    check_bottleneck,
    check_channels_of_dense_blocks,
    check_global_average,
    check_identity_of_residual_blocks,
    check_parallel_blocks,
    check_reductions_of_inception,
)
from lit_cnn.claims.fact import Fact as Fact
from lit_cnn.claims.layer_checks import (
    check_gapped_initialisation,
    check_gradients_of_tied_parameters,
    check_modes_of_batch_norm,
    check_shapes_of_kernels,
    check_stacked_convolutions,
    check_weight_decay,
)

Check = Callable[[], list[Fact]]


def _seeded(check: Check) -> Check:
    """Gives a check random numbers of its own: the same in each call, and without effect on those of others."""

    @functools.wraps(check)
    def run() -> list[Fact]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return check()

    return run


# The check of each exact claim, by the claim's number.
CHECKS: dict[int, Check] = {
    number: _seeded(check)
    for number, check in {
        6: check_weight_decay,
        8: check_stacked_convolutions,
        11: check_global_average,
        13: check_reductions_of_inception,
        16: check_modes_of_batch_norm,
        19: check_identity_of_residual_blocks,
        20: check_bottleneck,
        25: check_channels_of_dense_blocks,
        26: check_gradients_of_tied_parameters,
        27: check_parallel_blocks,
        28: check_gapped_initialisation,
        29: check_shapes_of_kernels,
    }.items()
}
