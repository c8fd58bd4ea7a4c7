"""The network with its normalisation inside."""

from __future__ import annotations

import pytest
import torch
from untrained import samples_of, untrained

from lit_cnn.export.network import ExportedNetwork


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_it_answers_as_the_run(channels: int, layout: str, dtype: str):
    trained = untrained(channels)
    network, samples = ExportedNetwork.of(trained, layout, dtype), samples_of(trained)
    images = network.as_input(samples.pixels)
    assert images.dtype == getattr(torch, dtype)
    assert images.shape == ((20, 32, 32, channels) if layout == "nhwc" else (20, channels, 32, 32))
    assert network.example(2, 32, channels).shape == images[:2].shape
    with torch.inference_mode():
        torch.testing.assert_close(network(images).numpy(), samples.probabilities, atol=1e-6, rtol=0)


def test_the_run_stays_as_it_was():
    trained = untrained()
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    network = ExportedNetwork.of(trained)
    assert all(parameter.requires_grad for parameter in trained.network.parameters())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    for parameter in network.parameters():
        parameter.data.zero_()
    assert all(torch.equal(value, before[name]) for name, value in trained.network.state_dict().items())
