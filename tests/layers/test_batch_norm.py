"""The BatchNorm that is written out computes what torch's does."""

import pytest
import torch
from torch import nn

from lit_cnn.layers import BatchNorm1d, BatchNorm2d

CASES = [
    (BatchNorm1d, nn.BatchNorm1d, (8, 5)),
    (BatchNorm1d, nn.BatchNorm1d, (8, 5, 7)),
    (BatchNorm2d, nn.BatchNorm2d, (4, 5, 6, 3)),
]


def pair(own: type, torchs: type, **arguments) -> tuple[nn.Module, nn.Module]:
    mine, theirs = own(5, **arguments), torchs(5, **arguments)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    mine.load_state_dict(theirs.state_dict())
    return mine, theirs


@pytest.mark.parametrize("momentum", [0.1, 0.3, None])
@pytest.mark.parametrize(("own", "torchs", "shape"), CASES)
def test_outputs_gradients_and_running_statistics_are_those_of_torch(own, torchs, shape, momentum):
    torch.manual_seed(0)
    mine, theirs = pair(own, torchs, momentum=momentum)
    for _ in range(3):
        x = torch.randn(shape) * 3 + 2
        xs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
        outputs = [layer(x) for layer, x in zip((mine, theirs), xs, strict=True)]
        torch.testing.assert_close(*outputs, rtol=1e-6, atol=1e-6)
        upstream = torch.randn(shape)
        for output in outputs:
            output.backward(upstream)
        torch.testing.assert_close(xs[0].grad, xs[1].grad, rtol=1e-5, atol=1e-6)
        for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-5)
        for name, buffer in theirs.named_buffers():
            torch.testing.assert_close(dict(mine.named_buffers())[name], buffer, rtol=1e-6, atol=1e-6)
    for layer in (mine, theirs):
        layer.eval()
    torch.testing.assert_close(mine(x), theirs(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("own", "torchs", "shape"), CASES)
def test_in_double_precision_they_agree_to_twelve_digits(own, torchs, shape):
    torch.manual_seed(0)
    mine, theirs = (layer.double() for layer in pair(own, torchs))
    xs = [torch.randn(shape, dtype=torch.float64).requires_grad_()]
    xs.append(xs[0].detach().clone().requires_grad_())
    upstream = torch.randn(shape, dtype=torch.float64)
    outputs = [layer(x) for layer, x in zip((mine, theirs), xs, strict=True)]
    for output in outputs:
        output.backward(upstream)
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(xs[0].grad, xs[1].grad, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mine.running_var, theirs.running_var, rtol=1e-12, atol=1e-12)


def test_one_value_for_each_channel_has_no_variance():
    layer = BatchNorm2d(3)
    with pytest.raises(ValueError, match=r"more than one value for each channel, got an input of \(1, 3, 1, 1\)"):
        layer(torch.zeros(1, 3, 1, 1))
    assert layer.eval()(torch.zeros(1, 3, 1, 1)).shape == (1, 3, 1, 1)


def test_an_input_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"4-dimensional input of 3 channels, got \(2, 4, 5, 5\)"):
        BatchNorm2d(3)(torch.zeros(2, 4, 5, 5))
    with pytest.raises(ValueError, match=r"2-dimensional or 3-dimensional input of 3 channels, got \(2, 3, 5, 5\)"):
        BatchNorm1d(3)(torch.zeros(2, 3, 5, 5))


@pytest.mark.parametrize("training", [True, False])
def test_under_autocast_it_gives_what_torchs_gives(training: bool):
    mine, theirs = pair(BatchNorm2d, nn.BatchNorm2d)
    x = torch.randn(4, 5, 6, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = [layer.train(training)(x) for layer in (mine, theirs)]
    assert outputs[0].dtype == torch.bfloat16
    torch.testing.assert_close(*outputs)
