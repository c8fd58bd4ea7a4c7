"""Dropout in a batch that several processes share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Dropout):
    """Dropout that drops the same features of an image for any number of processes.

    Each process draws for the whole batch and takes its images, which are every n-th of n processes. All processes must have
    the same state of their random numbers. A single process computes the same as :class:`torch.nn.Dropout`.

    Shape:
        Input (N, …), output the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        num_processes = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        if not self.training or num_processes == 1:
            return super().forward(x)
        channels_last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        # Random numbers follow the order in memory.
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        shape = (num_processes * len(x), *x.shape[1:])
        ones = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format).fill_(1)
        return x * F.dropout(ones, self.p)[torch.distributed.get_rank() :: num_processes]


def share_dropout(network: nn.Module) -> nn.Module:
    """Makes each :class:`torch.nn.Dropout` of a network a :class:`Dropout`; returns the network."""
    for module in network.modules():
        if type(module) is nn.Dropout:
            module.__class__ = Dropout  # keeps its mode, its hooks and whatever else refers to it
    return network
