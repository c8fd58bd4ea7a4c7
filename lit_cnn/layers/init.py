"""Initialisations: Kaiming's and AlexNet's, any distribution, and the chapter's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

Initialiser = Distribution | Callable[[Tensor], object]


class GappedUniform(Distribution):
    """Zero, or uniform on either side of a gap around zero.

    ``w = 0`` with probability ``zero``, else ``±U(low, high)`` with both signs equally likely. The chapter has low 5, high
    10 and zero one half: ¼ U(-10, -5), ½ 0, ¼ U(5, 10). Its standard deviation is √(175/6) ≈ 5.40.

    >>> _ = torch.manual_seed(0)
    >>> weights = GappedUniform().sample((1000,))
    >>> bool(((weights == 0) | ((weights.abs() >= 5) & (weights.abs() <= 10))).all())
    True

    Args:
        low: Smallest absolute value of the others, at least 0.
        high: Largest absolute value, above ``low``.
        zero: Probability of zero, at least 0 and below 1.
    Raises:
        ValueError: If an argument is out of its range.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - torch declares it so
    support = constraints.real

    def __init__(self, low: float = 5.0, high: float = 10.0, zero: float = 0.5) -> None:
        if not 0 <= low < high:
            raise ValueError(f"low must be at least 0 and below high, got low={low}, high={high}")
        if not 0 <= zero < 1:
            raise ValueError(f"zero must be at least 0 and below 1, got {zero}")
        self.low, self.high, self.zero = low, high, zero
        super().__init__()

    @property
    def mean(self) -> Tensor:
        return torch.tensor(0.0)

    @property
    def variance(self) -> Tensor:
        low, high = self.low, self.high
        return torch.tensor((1 - self.zero) * (low**2 + low * high + high**2) / 3)

    def sample(self, sample_shape: Iterable[int] = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        # One draw decides: 0 below `zero`; above it, each sign has half of the range.
        draw = torch.rand(shape)
        sign = torch.where(draw < (1 + self.zero) / 2, 1.0, -1.0)
        return torch.where(draw < self.zero, 0.0, sign * torch.empty(shape).uniform_(self.low, self.high))


@torch.no_grad()
def initialise(
    network: nn.Module,
    weight: Initialiser,
    bias: Initialiser = nn.init.zeros_,
    layer_types: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv2d),
) -> nn.Module:
    """Fills the weights and biases of a network with new values.

    >>> network = initialise(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), weight=GappedUniform(low=1, high=2))
    >>> network = initialise(network, weight=nn.init.xavier_uniform_)
    >>> network = initialise(network, weight=torch.distributions.Laplace(0.0, 0.1), bias=nn.init.ones_)

    Args:
        network: Any module; all its submodules are included.
        weight: A distribution, or a function that fills a tensor in place, such as those of ``torch.nn.init``.
        bias: The same, for the biases.
        layer_types: Classes of the layers that are initialised.
    Returns:
        The network.
    """

    def fill(tensor: Tensor, initialiser: Initialiser) -> None:
        if isinstance(initialiser, Distribution):
            tensor.copy_(initialiser.sample(tensor.shape))
        else:
            initialiser(tensor)

    for module in network.modules():
        if isinstance(module, layer_types):
            parameters = dict(module.named_parameters(recurse=False))
            fill(parameters["weight"], weight)
            if "bias" in parameters:
                fill(parameters["bias"], bias)
    return network


def kaiming_(weight: Tensor) -> Tensor:
    """Fills with the normal distribution that preserves the variance through layers with ReLU.

    Source: He et al. 2015, arXiv:1502.01852, Eq. 10.
    """
    return nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu")


def gaussian_(weight: Tensor) -> Tensor:
    """Fills with a normal distribution of standard deviation 0.01.

    Source: Krizhevsky et al. 2012, Sec. 5. The chapter calls the 0.01 a variance; the paper means the standard deviation.
    """
    return nn.init.normal_(weight, std=0.01)
