"""Speed and accuracy of a run in each form, measured in turn on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_cnn.analysis.provenance import describe_machine
from lit_cnn.data.loader import Images
from lit_cnn.export.latency import milliseconds
from lit_cnn.export.network import ExportedNetwork
from lit_cnn.export.onnx_file import OnnxNetwork, write_onnx
from lit_cnn.export.openvino_model import OpenvinoModel, write_openvino
from lit_cnn.export.quantise import write_int8
from lit_cnn.export.samples import set_up
from lit_cnn.export.validation import Answer, accuracy_of, classes_of, spread
from lit_cnn.inference.loading import load_run
from lit_cnn.inference.trained import Trained
from lit_cnn.runs.folder import Run

BATCHES = (1, 32)
# Validation images whose answers give the accuracy.
MAX_IMAGES = 2000


@dataclass(frozen=True)
class Timed:
    """A form of a network.

    Args:
        form: Its name.
        ms: Milliseconds an image, by the number of images in a batch.
        accuracy: On validation images.
    """

    form: str
    ms: dict[int, float]
    accuracy: float


def measure_forms(
    run: Run, forms: Sequence[str], threads: int, report: Callable[[str], None]
) -> tuple[list[Timed], dict[str, Any]]:
    """Measures the forms of a run's best checkpoint that are asked for.

    Args:
        run: The run, whose validation images are needed.
        forms: Keys of :data:`FORMS`.
        threads: Threads that compute.
        report: Takes a line before what takes long.

    Returns:
        The forms in that order, without those into which the network cannot be converted, and what was measured where.
    """
    trained = load_run(run.path, device="cpu")
    network = ExportedNetwork.of(trained)
    splits = set_up(run).splits
    validation = splits["val"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        answers: dict[str, Answer] = {}
        for form in forms:
            report(f"prepares {form}")
            try:
                answers[form] = FORMS[form](_Source(trained, network, splits["train"], Path(folder), threads))
            except ValueError as error:  # OpenVINO does not convert all networks
                report(f"{form} is left out: {error}")
        report("measures")
        times: dict[str, dict[int, float]] = {form: {} for form in answers}
        for size in BATCHES:
            pixels = validation.fetch(torch.arange(size) % len(validation.labels)).cpu()
            calls = {form: (lambda answer=answer, pixels=pixels: answer(pixels)) for form, answer in answers.items()}
            for form, ms in milliseconds(calls).items():
                times[form][size] = ms / size
        positions = spread(validation, MAX_IMAGES)
        timed = []
        for form, answer in answers.items():
            accuracy = accuracy_of(classes_of(answer, validation, positions), validation, positions)
            timed.append(Timed(form, times[form], accuracy))
    content = {"machine": describe_machine(), "images": len(positions), "forms": [asdict(form) for form in timed]}
    return timed, content


@dataclass(frozen=True)
class _Source:
    trained: Trained
    network: ExportedNetwork
    training: Images
    folder: Path
    threads: int

    @property
    def onnx(self) -> Path:
        path = self.folder / "model.onnx"
        if not path.exists():
            write_onnx(self.network, self.trained.native_size, self.trained.channels, path, {})
        return path


def _in_torch(source: _Source, precision: torch.dtype | None = None, is_compiled: bool = False) -> Answer:
    network: Callable[[Tensor], Tensor] = torch.compile(source.network) if is_compiled else source.network

    def answer(pixels: Tensor) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
            return network(source.network.as_input(pixels)).float().numpy()

    return answer


def _openvino(source: _Source) -> Answer:
    write_openvino(source.onnx, source.folder / "model.xml")
    return OpenvinoModel(source.folder / "model.xml", source.network, source.threads)


def _int8(source: _Source) -> Answer:
    path = source.folder / "model_int8.onnx"
    write_int8(source.training, source.network, source.onnx, path)
    return OnnxNetwork(path, source.network, source.threads)


FORMS: dict[str, Callable[[_Source], Answer]] = {
    "PyTorch float32": _in_torch,
    "PyTorch bfloat16": lambda source: _in_torch(source, torch.bfloat16),
    "PyTorch compiled": lambda source: _in_torch(source, is_compiled=True),
    "ONNX Runtime": lambda source: OnnxNetwork(source.onnx, source.network, source.threads),
    "ONNX Runtime int8": _int8,
    "OpenVINO": _openvino,
}
