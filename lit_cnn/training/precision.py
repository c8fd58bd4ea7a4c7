"""Chooses the precision for ``--trainer.precision auto``."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pytorch_lightning import Trainer

# Lightning's precisions without those that need other packages; errors list them in this order.
Precision = Literal[
    "auto", "32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true", "bf16", 16, 32, 64
]  # fmt: skip

# From this number of multiply-adds in a forward pass on a batch, bfloat16 is faster on two cores with AVX-512-BF16.
# Measured: LeNet with batches of 32 (13 million) takes the same time in both; with batches of 64 (27 million) it trains at
# least 1.3 times as fast. `lit-cnn benchmark --model lenet --batch_size 64 --output FILE` shows it under "ceiling".
LEAST_MULTIPLY_ADDS = 20_000_000

# Extensions of x86 that multiply bfloat16. Arm has such extensions too; they were not measured.
BFLOAT16_EXTENSIONS = ("avx512_bf16", "amx_bf16")


def has_bfloat16(device: str) -> bool:
    """Whether the processor (``cpu``) or GPU (``cuda``) has instructions for bfloat16. Others emulate it."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and any(_capabilities().get(name) for name in BFLOAT16_EXTENSIONS)


def computes_in_bfloat16(device: str) -> bool:
    """Whether a device has instructions for bfloat16 and is faster with them.

    GPUs and processors with AMX are. With AVX-512-BF16 alone, processors of AMD are: a convolution was at least 1.7 times
    as fast. Those of Intel were slower than in float32 (0.6 times as fast); some of them hide their AMX in virtual machines.
    ``lit-cnn doctor`` measures it. Nothing is measured here, so that the same command always computes in the same precision.
    """
    capabilities = _capabilities()
    is_amd = "AMD" in capabilities.get("cpu_name", "")
    return has_bfloat16(device) and (device == "cuda" or is_amd or bool(capabilities.get("amx_bf16")))


def _capabilities() -> dict[str, Any]:
    # torch 2.11 has no such function.
    return getattr(torch.cpu, "get_capabilities", dict)()


def choose_precision(device: str, multiply_adds: int) -> Literal["bf16-mixed", "32-true"]:
    """bfloat16 if it is faster on the device and the batch is large enough, else float32.

    Args:
        device: ``cpu``, ``cuda`` or another device type of torch.
        multiply_adds: In a forward pass on a whole batch, over all devices, so that their number does not matter.
    """
    is_faster = multiply_adds >= LEAST_MULTIPLY_ADDS and computes_in_bfloat16(device)
    return "bf16-mixed" if is_faster else "32-true"


class AutoTrainer(Trainer):
    """A Trainer whose precision may be ``auto``.

    Args:
        precision: Precision of weights and arithmetic, as Lightning names it. auto: bf16-mixed if it is faster on this
            device and the batch is large enough, else 32-true.
    """

    def __init__(self, *, precision: Precision = "auto", **kwargs: Any) -> None:
        super().__init__(precision=None if precision == "auto" else precision, **kwargs)
