import pytest
from torch import nn

from lit_cnn.models import LitLeNet


@pytest.mark.parametrize(("activation", "kind"), [("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid), ("relu", nn.ReLU)])
@pytest.mark.parametrize(("pooling", "pool"), [("avg", nn.AvgPool2d), ("max", nn.MaxPool2d)])
def test_activation_and_pooling_are_what_was_asked(activation: str, kind: type, pooling: str, pool: type):
    layers = list(LitLeNet(activation=activation, pooling=pooling).network.modules())
    assert [type(m) for m in layers if isinstance(m, (nn.Tanh, nn.Sigmoid, nn.ReLU))] == [kind] * 4
    assert [type(m) for m in layers if isinstance(m, (nn.AvgPool2d, nn.MaxPool2d))] == [pool] * 2


def test_batch_norm_comes_before_each_activation():
    layers = [type(module).__name__ for module in LitLeNet(variant="lenet_bn").network.modules()]
    assert [layers[i - 1] for i, name in enumerate(layers) if name == "Tanh"] == ["BatchNorm2d"] * 2 + ["BatchNorm1d"] * 2
