from functools import partial

import pytest
import torch
from torch import nn

from lit_cnn.network.sizes import describe_sizes, takes


@pytest.mark.parametrize(
    ("network", "sizes"),
    [
        (nn.Conv2d(1, 1, 5), "images of at least 5×5"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), "images of 8×8"),
        (nn.Sequential(nn.MaxPool2d(4), nn.Flatten(), nn.Linear(4, 2)), "images of 8×8 to 11×11"),
        (nn.Conv2d(3, 1, 1), "no image up to 512×512"),
    ],
)
def test_sizes_are_found_by_asking(network: nn.Module, sizes: str):
    assert describe_sizes(partial(takes, network, 1)) == sizes


def test_asking_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.train()[1].eval()  # frozen, say
    assert takes(network, 1, 8)
    assert not takes(network, 1, 2)
    assert [module.training for module in network] == [True, False, True]
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
