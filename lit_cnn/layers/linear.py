"""A linear layer and the chapter's perceptron, written out."""

import torch
from torch import Tensor, nn

from lit_cnn.layers.checks import require_positive


class Linear(nn.Module):
    """``y = x W + b`` with parameters of its own.

    The product uses the parameters themselves. With their ``.data`` instead, autograd would not see them: their gradients
    would stay None. Without other layers ``backward`` would fail; with others, this one would never learn, and nothing tell.

    Deviates from ``nn.Linear``: the weight has shape (in_features, out_features), not its transpose.

    >>> layer = Linear(3, 2)
    >>> layer(torch.ones(5, 3)).sum().backward()
    >>> layer.weight.grad
    tensor([[5., 5.],
            [5., 5.],
            [5., 5.]])

    Args:
        in_features: Features of the input.
        out_features: Features of the output.
    Shape:
        Input (…, in_features); output (…, out_features).
    Raises:
        ValueError: If a count is below 1.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        require_positive(in_features=in_features, out_features=out_features)
        # Preserves the variance of the features: LeCun et al. 1998, "Efficient BackProp", Sec. 4.6.
        self.weight = nn.Parameter(torch.randn(in_features, out_features) / in_features**0.5)
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class MultilayerPerceptron(nn.Sequential):
    """One hidden layer with ReLU; the chapter's has 20, 256 and 10 features.

    Args:
        in_features: Features of the input.
        hidden: Features of the hidden layer.
        out_features: Features of the output.
    Shape:
        Input (…, in_features); output (…, out_features).
    Raises:
        ValueError: If a count is below 1.
    """

    def __init__(self, in_features: int = 20, hidden: int = 256, out_features: int = 10) -> None:
        require_positive(in_features=in_features, hidden=hidden, out_features=out_features)
        super().__init__(nn.Linear(in_features, hidden), nn.ReLU(), nn.Linear(hidden, out_features))
