"""Blocks inside blocks, and how to find their parameters.

The name of a parameter begins with the names of the modules around it. Containers number their modules:

>>> network = nn.Sequential(nested(4, 8, num_blocks=4), nn.Linear(4, 1))
>>> [(name, tuple(parameter.shape)) for name, parameter in network[1].named_parameters()]
[('weight', (1, 4)), ('bias', (1,))]
>>> [name for name, _ in network.named_parameters()][:3]
['0.block0.0.weight', '0.block0.0.bias', '0.block0.2.weight']
>>> network.get_parameter("0.block3.2.bias").shape
torch.Size([4])
>>> network.state_dict()["1.bias"].shape
torch.Size([1])
>>> network[0][1][0].bias is network.get_parameter("0.block1.0.bias")
True
>>> sum(parameter.numel() for parameter in network.parameters())
309
"""

from torch import nn

from lit_cnn.layers.checks import require_positive


def block(num_features: int, hidden: int) -> nn.Sequential:
    """Two linear layers with ReLU that keep the number of features.

    Shape:
        Input and output (…, num_features).
    Raises:
        ValueError: If a count is below 1.
    """
    require_positive(num_features=num_features, hidden=hidden)
    return nn.Sequential(nn.Linear(num_features, hidden), nn.ReLU(), nn.Linear(hidden, num_features), nn.ReLU())


def nested(num_features: int, hidden: int, num_blocks: int) -> nn.Sequential:
    """Several of these blocks in sequence, named ``block0``, ``block1``, ….

    Shape:
        Input and output (…, num_features).
    Raises:
        ValueError: If a count is below 1.
    """
    require_positive(num_blocks=num_blocks)
    blocks = nn.Sequential()
    for index in range(num_blocks):
        blocks.add_module(f"block{index}", block(num_features, hidden))
    return blocks
