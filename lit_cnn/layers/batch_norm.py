"""Batch normalisation, written out.

Source: Ioffe and Szegedy 2015, arXiv:1502.03167, Algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit_cnn.layers.checks import require_positive


def batch_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Centres and scales each channel: by the statistics of the batch in training, by the running ones in evaluation.

    In training, the running statistics move towards those of the batch by ``momentum``. As in ``torch.nn.BatchNorm2d``, the
    batch is divided by its biased standard deviation, and the running variance receives the unbiased variance.

    Args:
        x: Batch.
        weight: Scale of each channel, the paper's γ.
        bias: Shift of each channel, the paper's β.
        running_mean: Changed in place in training.
        running_var: Changed in place in training.
        training: Which statistics to use.
        momentum: Share of the batch in the running statistics.
        eps: Added to the variance.
    Shape:
        x (N, C) or (N, C, …); the others (C,); output as x.
    Raises:
        ValueError: In training, if there is only one value for each channel, which has no variance.
    """
    dtype = x.dtype
    x = x.to(torch.promote_types(dtype, weight.dtype))  # under autocast, x may be less precise than the statistics
    over = [dim for dim in range(x.ndim) if dim != 1]
    across = (1, -1) + (1,) * (x.ndim - 2)
    if training:
        count = x.numel() // x.shape[1]
        if count < 2:
            raise ValueError(f"training needs more than one value for each channel, got an input of {tuple(x.shape)}")
        var, mean = torch.var_mean(x, dim=over, correction=0)
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(var * count / (count - 1), momentum)
    else:
        mean, var = running_mean, running_var
    scale = weight * torch.rsqrt(var + eps)
    return ((x - mean.view(across)) * scale.view(across) + bias.view(across)).to(dtype)


class _BatchNorm(nn.Module):
    """State of :func:`batch_norm`; the same names as in ``torch.nn``, so that state dicts fit both."""

    dims: tuple[int, ...]
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__()
        require_positive(num_features=num_features)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in self.dims or x.shape[1] != self.num_features:
            expected = " or ".join(f"{dim}-dimensional" for dim in self.dims)
            raise ValueError(f"expected a {expected} input of {self.num_features} channels, got {tuple(x.shape)}")
        if self.training:
            self.num_batches_tracked += 1
        # Without a momentum: the mean of all batches.
        momentum = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        return batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, self.training, momentum, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm1d(_BatchNorm):
    """Batch normalisation after a linear layer; computes what ``torch.nn.BatchNorm1d`` does, gradients included.

    Args:
        num_features: Features of the input.
        eps: Added to the variance.
        momentum: Share of a batch in the running statistics; None for the mean of all batches.
    Shape:
        Input (N, num_features) or (N, num_features, L); output the same.
    Raises:
        ValueError: If ``num_features`` is below 1, or an input has another shape.
    """

    dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation after a convolution; computes what ``torch.nn.BatchNorm2d`` does, gradients included.

    Args:
        num_features: Channels of the input.
        eps: Added to the variance.
        momentum: Share of a batch in the running statistics; None for the mean of all batches.
    Shape:
        Input (N, num_features, H, W); output the same.
    Raises:
        ValueError: If ``num_features`` is below 1, or an input has another shape.
    """

    dims = (4,)
