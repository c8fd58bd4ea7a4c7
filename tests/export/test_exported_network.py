"""The network with its normalisation inside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from untrained import samples_of, untrained

from lit_cnn.data.reading import Reading
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


def test_it_cuts_the_centre_of_a_frame():
    trained = untrained(3, Reading(36, 3))
    trained = replace(trained, preprocessing=replace(trained.preprocessing, resize_size=36))
    pixels = torch.randint(0, 256, (4, 3, 36, 36), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    border = pixels.clone()
    border[..., 4:32, 4:32] = 0
    with torch.inference_mode():
        expected = trained.classifier(trained.preprocess(pixels)).softmax(1)
        for takes_any_size in (False, True):
            network = ExportedNetwork.of(trained, takes_any_size=takes_any_size)
            torch.testing.assert_close(network(network.as_input(pixels)), expected)
            torch.testing.assert_close(network(network.as_input(pixels - border)), expected)  # the border is black


def test_the_run_stays_as_it_was():
    trained = untrained()
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    network = ExportedNetwork.of(trained)
    assert all(parameter.requires_grad for parameter in trained.network.parameters())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    for parameter in network.parameters():
        parameter.data.zero_()
    assert all(torch.equal(value, before[name]) for name, value in trained.network.state_dict().items())


@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_it_resizes_images_nearly_as_files_are_resized(resize: str, tmp_path: Path):
    reading = Reading(32, 3, resize)
    network = ExportedNetwork.of(untrained(3, reading), takes_any_size=True)
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((300, 200), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "picture.png")
    whole = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    expected = reading.read(tmp_path / "picture.png").float()
    found = network._resized(whole.float(), reading)[0]
    assert (found - expected).abs().mean() < 1  # of 255 levels
    # Images that have the size already stay as they are.
    with torch.inference_mode():
        square = network.as_input(reading.read(tmp_path / "picture.png")[None])
        torch.testing.assert_close(network(square), ExportedNetwork.of(untrained(3, reading))(square))


def test_bars_are_not_part_of_the_network():
    with pytest.raises(
        ValueError, match=r"--resize puts crop and squash into the network, but the run has data\.resize=pad"
    ):
        ExportedNetwork.of(untrained(3, Reading(32, 3, "pad")), takes_any_size=True)
