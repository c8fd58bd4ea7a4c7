"""An ONNX network with weights and activations of 8 bits, and what that costs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lit_cnn.data.loader import Images
from lit_cnn.export.latency import milliseconds
from lit_cnn.export.network import ExportedNetwork
from lit_cnn.export.onnx_file import INPUT, OnnxNetwork
from lit_cnn.export.validation import BATCH, accuracy_of, classes_of, spread

# Training images whose activations give the ranges.
NUM_CALIBRATION = 256
# Validation images whose answers give the accuracy.
MAX_VALIDATION = 5000


@dataclass(frozen=True)
class Int8:
    """What 8 bits cost.

    Args:
        before: Validation accuracy of the float32 network.
        after: Of that with 8 bits.
        num_images: Validation images.
        equal_answers: Share of them with the same class.
        ms_before: Milliseconds for one image.
        ms_after: The same with 8 bits.
        num_calibration: Training images that gave the ranges of the activations.
    """

    before: float
    after: float
    num_images: int
    equal_answers: float
    ms_before: float
    ms_after: float
    num_calibration: int

    @property
    def loss(self) -> float:
        """Points of accuracy that are lost."""
        return 100 * (self.before - self.after)

    def as_json(self) -> dict[str, Any]:
        """As a file keeps it."""
        return asdict(self)

    def __str__(self) -> str:
        accuracy = f"validation accuracy {self.before:.2%} to {self.after:.2%} ({self.num_images:,} images)"
        return f"{accuracy}, {self.ms_before:.2f} to {self.ms_after:.2f} ms an image"


def write_int8(training: Images, network: ExportedNetwork, source: Path, path: Path) -> int:
    """Static quantisation: ranges of the activations from training images.

    Weights have 7 bits of range, one scale for each channel: sums of products of 8 bits overflow on processors without VNNI.

    Args:
        training: The training images of the run.
        network: What was exported.
        source: The float32 ONNX file.
        path: The file to write.

    Returns:
        Number of images that gave the ranges.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    calibration = spread(training, NUM_CALIBRATION)
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            _Reader(network, training, calibration),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=_nodes_outside(prepared),
        )
    return len(calibration)


def measure_int8(validation: Images, float32: OnnxNetwork, int8: OnnxNetwork, num_calibration: int) -> Int8:
    """Accuracy and speed of a network with 8 bits beside those of the float32 one.

    Args:
        validation: The validation images of the run.
        float32: The network before.
        int8: The network with 8 bits.
        num_calibration: See :func:`write_int8`.
    """
    positions = spread(validation, MAX_VALIDATION)
    before, after = (classes_of(network, validation, positions) for network in (float32, int8))
    image = validation.fetch(positions[:1]).cpu()
    times = milliseconds({"before": lambda: float32(image), "after": lambda: int8(image)})
    return Int8(
        accuracy_of(before, validation, positions),
        accuracy_of(after, validation, positions),
        len(positions),
        float((before == after).mean()),
        times["before"],
        times["after"],
        num_calibration,
    )


def _nodes_outside(path: Path) -> list[str]:
    """The nodes of the normalisation and of the probabilities, which stay in float32."""
    import onnx

    nodes = onnx.load(path, load_external_data=False).graph.node
    first = next(i for i, node in enumerate(nodes) if node.op_type in ("Conv", "Gemm", "MatMul"))
    return [node.name for i, node in enumerate(nodes) if i < first or node.op_type == "Softmax"]


class _Reader:
    """Calibration images in batches, as ONNX Runtime asks for them."""

    def __init__(self, network: ExportedNetwork, images: Images, positions: Tensor) -> None:
        self._batches: Iterator[dict[str, np.ndarray]] = (
            {INPUT: network.as_input(images.fetch(part).cpu()).numpy()} for part in positions.split(BATCH)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)
