"""Features: what a network computes before its last layer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_photos

from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.data.reading import Reading
from lit_cnn.inference.embed import features_of
from lit_cnn.inference.trained import Trained
from lit_cnn.models import LitLeNet, build


@pytest.mark.parametrize(("variant", "width", "size"), [("lenet", 84, 28), ("mlp", 256, 28), ("resnet20", 64, 32)])
def test_the_last_layer_makes_the_logits_of_the_features(variant: str, width: int, size: int):
    network = build(variant).eval()
    images = torch.rand(3, network.in_channels, size, size)
    with torch.no_grad():
        features = features_of(network, images)
        *_, last = (module for module in network.modules() if isinstance(module, torch.nn.Linear))
        torch.testing.assert_close(last(features), network(images))
    assert features.shape == (3, width)
    assert features.dtype == torch.float32


def test_features_before_a_convolution_are_means_over_positions():
    network = build("nin_cifar").eval()
    with torch.no_grad():
        assert features_of(network, torch.rand(2, 3, 32, 32)).shape == (2, 192)


def test_features_of_files_are_rows_in_their_order(tmp_path: Path):
    torch.manual_seed(0)
    classifier = LitLeNet(3, 3).eval()
    run = Trained(classifier, Preprocessing(28, (0.5,) * 3, (0.25,) * 3), ("a", "b", "c"), Reading(28, 3), None, "nowhere")
    write_photos(tmp_path / "new", ("one",), 5)
    features = run.embed(tmp_path / "new", batch_size=2)
    assert features.shape == (5, 84)
    np.testing.assert_allclose(run.embed(tmp_path / "new" / "one" / "3.jpg"), features[3:4], rtol=0, atol=1e-6)
    (tmp_path / "new" / "one" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1\.jpg cannot be decoded"):
        run.embed(tmp_path / "new")
    with pytest.warns(UserWarning, match=r"left out 1 of 5 images: .*1\.jpg cannot be decoded"):
        rest = run.embed(tmp_path / "new", on_bad_image="skip")
    np.testing.assert_allclose(rest, features[[0, 2, 3, 4]], rtol=0, atol=1e-6)
