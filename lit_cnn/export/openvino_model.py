"""A network as a model of OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from lit_cnn.export.network import ExportedNetwork

# OpenVINO computes in bfloat16 on processors that have it, unless it is told otherwise.
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


def write_openvino(onnx: Path, path: Path) -> None:
    """Writes ``path`` (.xml) and the weights beside it (.bin), in float32, from an ONNX file.

    Raises:
        ValueError: If OpenVINO cannot convert the network, as with a pooling window larger than its image.
    """
    import openvino

    try:
        model = openvino.Core().read_model(onnx)
    except RuntimeError as error:
        reasons = [line.strip() for line in str(error).partition("Summary:")[0].splitlines() if line.strip()]
        raise ValueError(
            f"OpenVINO cannot convert this network at this image size ({reasons[-1] if reasons else error}): "
            "train at a larger --data.image_size, or do without this form"
        ) from error
    openvino.save_model(model, path, compress_to_fp16=False)


class OpenvinoModel:
    """Answers with OpenVINO.

    Args:
        path: The file that ends with ``.xml``.
        network: What was exported, for the form of its images.
        threads: Threads that compute; as many as there are processors if not given.
    """

    def __init__(self, path: Path, network: ExportedNetwork, threads: int | None = None) -> None:
        import openvino

        settings = FLOAT32 | ({} if threads is None else {"INFERENCE_NUM_THREADS": threads})
        self.network = network
        self.model = openvino.Core().compile_model(path, "CPU", settings)

    def __call__(self, pixels: Tensor) -> np.ndarray:
        """Probabilities (N, num_classes) for pixels uint8 (N, C, H, W)."""
        return self.model(self.network.as_input(pixels).numpy())[0].copy()
