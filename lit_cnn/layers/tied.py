"""One layer used several times in a network: tied, or shared, parameters."""

from torch import nn

from lit_cnn.layers.checks import require_positive


def shared_layers(in_features: int = 4, hidden: int = 8, num_shared: int = 2, tied: bool = True) -> nn.Sequential:
    """A perceptron whose hidden layers are one module; if untied, they are copies of it.

    A tied parameter exists once. Each use adds to its gradient:

    >>> network = shared_layers()
    >>> network[2].weight is network[4].weight
    True
    >>> [sum(p.numel() for p in shared_layers(tied=tied).parameters()) for tied in (True, False)]
    [121, 193]

    Args:
        in_features: Features of the input.
        hidden: Features of the hidden layers.
        num_shared: How many times the hidden layer is used in a row.
        tied: Whether these uses share one layer. If not, each has its own layer with the same initial values.
    Shape:
        Input (…, in_features); output (…, 1).
    Raises:
        ValueError: If a count is below 1.
    """
    require_positive(in_features=in_features, hidden=hidden, num_shared=num_shared)
    shared = nn.Linear(hidden, hidden)
    layers: list[nn.Module] = [nn.Linear(in_features, hidden), nn.ReLU()]
    for _ in range(num_shared):
        layer = shared
        if not tied:
            layer = nn.Linear(hidden, hidden)
            layer.load_state_dict(shared.state_dict())
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, 1))
