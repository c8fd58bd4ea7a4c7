"""Every network can be exported, and answers the same."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.export.network import ExportedNetwork
from lit_cnn.export.onnx_file import OnnxNetwork, write_onnx
from lit_cnn.export.openvino_model import OpenvinoModel, write_openvino
from lit_cnn.export.torch_program import TorchProgram, write_program
from lit_cnn.models import build, describe, list_variants

pytestmark = pytest.mark.slow

# Its last pooling windows are larger than their maps at 32×32, which OpenVINO does not convert.
LARGER = {"googlenet_paper": 64}


def network_for(variant: str, size: int) -> ExportedNetwork:
    """With the usual spread of activations: random weights and running means of BatchNorm that are those of its images."""
    torch.manual_seed(0)
    network = build(variant, num_classes=5, in_channels=3)
    if variant.startswith("plain"):
        # Deep plain networks with random weights enlarge errors of rounding without a limit; nearly the identity does not.
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.data = torch.nn.init.dirac_(torch.empty_like(layer.weight)) + 0.2 * layer.weight.data
    exported = ExportedNetwork(network, Preprocessing(size, (0.5,) * 3, (0.25,) * 3))
    pixels = torch.randint(0, 256, (8, 3, size, size), dtype=torch.uint8)
    with torch.no_grad():
        for _ in range(20):
            exported.train()(exported.as_input(pixels))
    return exported.eval().requires_grad_(False)


@pytest.mark.parametrize("variant", list_variants())
def test_each_network_answers_as_its_export(variant: str, tmp_path: Path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    size = max(describe(variant).min_size, 32) if describe(variant).max_size is None else describe(variant).min_size
    size = LARGER.get(variant, size)
    network = network_for(variant, size)
    write_onnx(network, size, 3, tmp_path / "model.onnx", {})
    write_program(network, size, 3, tmp_path / "model.pt2")
    write_openvino(tmp_path / "model.onnx", tmp_path / "model.xml")
    answers = [
        OnnxNetwork(tmp_path / "model.onnx", network),
        TorchProgram(tmp_path / "model.pt2", network),
        OpenvinoModel(tmp_path / "model.xml", network),
    ]
    for answer in answers:
        for number in (1, 3):
            pixels = torch.randint(0, 256, (number, 3, size, size), dtype=torch.uint8)
            with torch.inference_mode():
                expected = network(network.as_input(pixels)).numpy()
                exact = copy.deepcopy(network).double()(network.as_input(pixels)).numpy()
            # Networks with random weights enlarge the errors of float32.
            tolerance = max(1e-4, 4 * float(np.abs(expected - exact).max()))
            assert tolerance < 0.01
            np.testing.assert_allclose(answer(pixels), exact, atol=tolerance, rtol=0)


def test_what_openvino_cannot_convert_is_one_line(tmp_path: Path):
    pytest.importorskip("openvino")
    write_onnx(network_for("googlenet_paper", 32), 32, 3, tmp_path / "model.onnx", {})
    with pytest.raises(ValueError, match=r"OpenVINO cannot convert .*Kernel after dilation.*do without this form"):
        write_openvino(tmp_path / "model.onnx", tmp_path / "model.xml")
    assert not (tmp_path / "model.xml").exists()
