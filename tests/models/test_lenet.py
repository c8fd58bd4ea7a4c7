import pytest
import torch
from torch import nn

from lit_cnn.models import LitLeNet


@pytest.mark.parametrize(("activation", "activation_class"), [("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid), ("relu", nn.ReLU)])
@pytest.mark.parametrize(("pooling", "pool"), [("avg", nn.AvgPool2d), ("max", nn.MaxPool2d)])
def test_activation_and_pooling_are_what_was_asked(activation: str, activation_class: type, pooling: str, pool: type):
    layers = list(LitLeNet(activation=activation, pooling=pooling).network.modules())
    assert [type(m) for m in layers if isinstance(m, (nn.Tanh, nn.Sigmoid, nn.ReLU))] == [activation_class] * 4
    assert [type(m) for m in layers if isinstance(m, (nn.AvgPool2d, nn.MaxPool2d))] == [pool] * 2


def test_batch_norm_comes_before_each_activation():
    layers = [type(module).__name__ for module in LitLeNet(variant="lenet_bn").network.modules()]
    assert [layers[i - 1] for i, name in enumerate(layers) if name == "Tanh"] == ["BatchNorm2d"] * 2 + ["BatchNorm1d"] * 2


def test_the_batch_norm_that_is_written_out_trains_to_the_same_curve():
    def train(batch_norm: str) -> list[float]:
        torch.manual_seed(0)
        classifier = LitLeNet(variant="lenet_bn", activation="sigmoid", batch_norm=batch_norm).double()
        optimizer = torch.optim.SGD(classifier.parameters(), lr=0.1, momentum=0.9)
        losses = []
        for _ in range(30):
            images, labels = torch.randn(16, 1, 28, 28, dtype=torch.float64), torch.arange(16) % 10
            _, loss = classifier.training_loss(images + labels.view(-1, 1, 1, 1), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            return [*losses, *classifier.eval()(images).flatten().tolist()]

    curve = train("lit_cnn")
    assert curve[29] < 0.8 * curve[0]
    torch.testing.assert_close(torch.tensor(curve), torch.tensor(train("torch")), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(28, 28), (28, 32), (31, 28)])
def test_a_small_image_counts_as_one_of_32x32_with_a_border_of_zeros(shape: tuple[int, int]):
    network = LitLeNet().eval()
    small = torch.randn(2, 1, *shape)
    widths = [2 if size < 32 else 0 for size in shape]
    large = nn.functional.pad(small, (widths[1], widths[1], widths[0], widths[0]))
    assert min(large.shape[2:]) == 32
    torch.testing.assert_close(network(large), network(small))


def test_the_margin_of_an_image_of_32x32_counts():
    images = torch.randn(2, 1, 32, 32)
    network = LitLeNet().eval()
    assert not torch.allclose(network(images), network(images[..., 2:-2, 2:-2]))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"activation": "gelu"}, "activation must be one of tanh, sigmoid, relu, got 'gelu'"),
        ({"pooling": "mean"}, "pooling must be one of avg, max, got 'mean'"),
        ({"batch_norm": "own"}, "batch_norm must be one of torch, lit_cnn, got 'own'"),
        ({"batch_norm": "lit_cnn"}, "batch_norm=lit_cnn needs a variant with BatchNorm"),
    ],
)
def test_names_that_there_are_not_are_refused(arguments: dict, match: str):
    with pytest.raises(ValueError, match=match):
        LitLeNet(**arguments)
