"""Parallel branches on the same input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Parallel(nn.Sequential):
    """Gives its input to every branch and concatenates their outputs.

    >>> block = Parallel(nn.Linear(20, 3), nn.Linear(20, 6), dim=-1)
    >>> block(torch.zeros(20)).shape, block(torch.zeros(2, 20)).shape
    (torch.Size([9]), torch.Size([2, 9]))

    Args:
        branches: Modules, or one ``OrderedDict`` of named modules, as for ``nn.Sequential``.
        dim: Dimension of the concatenation: 1 for channels of images, -1 for features, also of a single vector.
    Shape:
        Input as for the branches; output as theirs, with the sizes along ``dim`` added up.
    Raises:
        ValueError: If there is no branch.
    """

    def __init__(self, *branches: Any, dim: int = 1) -> None:
        super().__init__(*branches)
        if not len(self):
            raise ValueError("a parallel block needs at least one branch")
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
