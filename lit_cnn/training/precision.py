"""Which precision to compute in, where ``auto`` is asked for."""

from __future__ import annotations

import functools
import time
from typing import Any, Literal

import torch
from pytorch_lightning import Trainer
from torch.nn import functional as F

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


# How many times as fast as float32 a convolution must be. AMD's processors with AVX-512-BF16 reach 1.7 and more; Intel's,
# where they have no AMX beside it or a virtual machine hides it, 0.6: `lit-cnn doctor` says what this machine's does.
LEAST_GAIN = 1.2


def computes_in_bfloat16(device: str) -> bool:
    """Whether the processor (``cpu``) or graphics card (``cuda``) has instructions for bfloat16 and gains from them."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch 2.11 cannot say what a processor has.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    has_it = device == "cpu" and any(capabilities.get(name) for name in BFLOAT16_EXTENSIONS)
    return has_it and bfloat16_gain() >= LEAST_GAIN


@functools.cache
def bfloat16_gain() -> float:
    """How many times as fast the processor convolves in bfloat16 as in float32; measured once, in a fifth of a second."""
    image, weight = torch.ones(32, 64, 24, 24), torch.ones(64, 64, 3, 3)
    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    with torch.inference_mode():
        for _ in range(7):  # by turns; the quickest of each, for what is slower was disturbed
            for dtype in seconds:
                x, w = (t.to(dtype, memory_format=torch.channels_last) for t in (image, weight))
                began = time.perf_counter()
                F.conv2d(x, w, padding=1)
                seconds[dtype] = min(seconds[dtype], time.perf_counter() - began)
    return seconds[torch.float32] / seconds[torch.bfloat16]


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
