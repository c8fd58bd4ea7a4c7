"""Which precision to compute in, where ``auto`` is asked for."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pytorch_lightning import Trainer

# What Lightning takes, less what needs other packages; in the order in which an error lists them.
Precision = Literal[
    "auto", "32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true", "bf16", 16, 32, 64
]  # fmt: skip

# Multiply-adds of a forward pass on a batch from which bfloat16 gains, on two cores with AVX-512-BF16. Measured: LeNet with
# batches of 32 (13 million) takes as long in either, with 64 (27 million) it trains 1.3 times as fast and more;
# `lit-cnn benchmark --model lenet --batch_size 64 --output FILE` says so under "ceiling".
LEAST_MULTIPLY_ADDS = 20_000_000

# The extensions of x86 that multiply bfloat16. Arm has some too; what they gain was not measured.
BFLOAT16_EXTENSIONS = ("avx512_bf16", "amx_bf16")


def has_bfloat16(device: str) -> bool:
    """Whether the processor (``cpu``) or graphics card (``cuda``) has instructions for bfloat16; else it is emulated."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and any(_capabilities().get(name) for name in BFLOAT16_EXTENSIONS)


def computes_in_bfloat16(device: str) -> bool:
    """Whether a device has instructions for bfloat16 and gains from them.

    Graphics cards do, and processors with AMX. With AVX-512-BF16 alone AMD's do: a convolution was 1.7 times as fast and
    more. Intel's, some of which hide their AMX from virtual machines, took longer than in float32 (0.6); ``lit-cnn doctor``
    measures it. Nothing is measured here: the same command on the same machine is to compute in the same precision.
    """
    capabilities = _capabilities()
    is_amd = "AMD" in capabilities.get("cpu_name", "")
    return has_bfloat16(device) and (device == "cuda" or is_amd or bool(capabilities.get("amx_bf16")))


def _capabilities() -> dict[str, Any]:
    # torch 2.11 cannot say what a processor has.
    return getattr(torch.cpu, "get_capabilities", dict)()


def choose_precision(device: str, multiply_adds: int) -> Literal["bf16-mixed", "32-true"]:
    """bfloat16 where the device computes in it and a batch is enough work to gain from it, float32 otherwise.

    Args:
        device: ``cpu``, ``cuda`` or another of torch's device types.
        multiply_adds: Of a forward pass on a whole batch, over all devices: one precision, on however many it is trained.
    """
    gains = multiply_adds >= LEAST_MULTIPLY_ADDS and computes_in_bfloat16(device)
    return "bf16-mixed" if gains else "32-true"


class AutoTrainer(Trainer):
    """A Trainer whose precision the command line chooses, unless it is given.

    Args:
        precision: Of weights and arithmetic, as Lightning names it; auto: bf16-mixed where the device computes in bfloat16
            and a batch is enough work to gain from it, 32-true otherwise.
    """

    def __init__(self, *, precision: Precision = "auto", **kwargs: Any) -> None:
        super().__init__(precision=None if precision == "auto" else precision, **kwargs)
