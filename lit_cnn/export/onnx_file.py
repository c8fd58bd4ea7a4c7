"""A network as an ONNX file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_cnn.export.network import ExportedNetwork

# What ONNX Runtime 1.14 and OpenVINO 2023 can read too; it has all that these networks need.
OPSET = 18
INPUT, OUTPUT = "images", "probabilities"


def write_onnx(network: ExportedNetwork, size: int, channels: int, path: Path, metadata: dict[str, Any]) -> None:
    """Writes one file with all weights, for batches of any number of images.

    Args:
        network: In evaluation mode, on the processor.
        size: Height and width of the images.
        channels: Their channels.
        path: The file.
        metadata: Enters the file as JSON, by name.
    """
    program = torch.onnx.export(
        network,
        (network.example(2, size, channels),),
        dynamo=True,
        dynamic_shapes=network.dynamic_shapes,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props.update({name: json.dumps(value) for name, value in metadata.items()})
    program.save(path, external_data=False)


class OnnxNetwork:
    """Answers with ONNX Runtime.

    Args:
        path: The file.
        network: What was exported, for the form of its images.
        threads: Threads that compute; as many as there are processors if not given.
    """

    def __init__(self, path: Path, network: ExportedNetwork, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = threads or 0
        self.network = network
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, pixels: Tensor) -> np.ndarray:
        """Probabilities (N, num_classes) for pixels uint8 (N, C, H, W)."""
        (probabilities,) = self.session.run(None, {INPUT: self.network.as_input(pixels).numpy()})
        return np.asarray(probabilities)
