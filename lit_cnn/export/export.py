"""Exports the network of a run, and compares what was written with the run before it is left there."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_cnn.errors import ParityError
from lit_cnn.export.card import describe_preprocessing, write_card, write_labels
from lit_cnn.export.docker import write_container
from lit_cnn.export.forms import (
    CARD,
    COMPILED,
    FILES,
    LABELS,
    ONNX,
    ONNX_INT8,
    OPENVINO,
    PARITY,
    PREPROCESS,
    PROGRAM,
    WEIGHTS,
)
from lit_cnn.export.hub import load_hub_files, write_hub_files
from lit_cnn.export.network import Dtype, ExportedNetwork, Layout
from lit_cnn.export.onnx_file import OPSET, OnnxNetwork, write_onnx
from lit_cnn.export.openvino_model import OpenvinoModel, write_openvino
from lit_cnn.export.parity import BATCH_SIZES, TOLERANCE, check_parity, check_whole_images
from lit_cnn.export.quantise import measure_int8, write_int8
from lit_cnn.export.samples import Samples, set_up
from lit_cnn.export.script import SCRIPT, check_script
from lit_cnn.export.torch_program import TorchProgram, write_compiled, write_program
from lit_cnn.inference.loading import load_run
from lit_cnn.inference.trained import Trained
from lit_cnn.runs.folder import Run
from lit_cnn.system.digests import digest_of
from lit_cnn.system.json_files import read_object, write_object
from lit_cnn.system.locks import alone

FORMATS = ("onnx", "torch", "safetensors", "openvino", "docker")
FOLDER = "export"
LOCK = ".export.lock"
SAMPLES = ".samples"  # ending of a folder beside the export: images with which it is compared


class Export:
    """Writes the network of a run in several forms, each of which is compared with the run at once.

    Args:
        run: The run; its best checkpoint is exported.
        layout: Of the images that the exported network takes.
        dtype: Of their values.
        takes_any_size: Whether it resizes images.
        report: Takes a line about each form.

    Raises:
        ValueError: If the run has no checkpoint, or its images are not there.
    """

    def __init__(
        self,
        run: Run,
        layout: Layout = "nhwc",
        dtype: Dtype = "uint8",
        takes_any_size: bool = False,
        report: Callable[[str], None] = print,
    ) -> None:
        self.run, self.report = run, report
        self.trained: Trained = load_run(run.path, device="cpu")
        self.network = ExportedNetwork.of(self.trained, layout, dtype, takes_any_size)
        self.size, self.channels = self.trained.native_size, self.trained.channels
        self.folder = run.path / FOLDER
        self.forms: dict[str, dict[str, Any]] = {}

    def write(self, formats: Sequence[str], is_compiled: bool = False, is_int8: bool = False, max_loss: float = 1.0) -> Path:
        """Writes all, or nothing.

        Args:
            formats: Some of :data:`FORMATS`; ``docker`` needs ``onnx``.
            is_compiled: Whether the program of torch.export is compiled ahead of time too.
            is_int8: Whether the ONNX file is written with 8 bits too.
            max_loss: Points of validation accuracy that 8 bits may lose.

        Returns:
            The folder ``export`` of the run. Forms of earlier exports of the same checkpoint stay in it.

        Raises:
            ParityError: If a form computes something else than the run, or 8 bits lose too much.
            ValueError: If another process exports the run.
        """
        busy = f"{self.run.path} is being exported by another process: wait until it has ended"
        with alone(self.run.path / LOCK, busy), self._partial_folder() as partial:
            samples = Samples.of(self.run, self.trained, partial.with_suffix(SAMPLES))
            write_object(partial / PREPROCESS, describe_preprocessing(self.trained, self.network))
            write_labels(self.trained.class_names, partial / LABELS)
            if is_int8 or "onnx" in formats or "openvino" in formats:
                self._write_onnx(partial, samples)
            if is_int8:
                self._write_int8(partial, max_loss)
            if "openvino" in formats:
                write_openvino(partial / ONNX, partial / OPENVINO)
                self._check(OPENVINO, OpenvinoModel(partial / OPENVINO, self.network), samples)
            if not is_int8 and "onnx" not in formats and ONNX not in self._earlier_forms():
                for name in (ONNX, SCRIPT.name):
                    (partial / name).unlink(missing_ok=True)
                self.forms.pop(ONNX, None)
            if "torch" in formats:
                self._write_programs(partial, samples, is_compiled)
            if "safetensors" in formats:
                write_hub_files(self.trained, partial)
                self._check(WEIGHTS, answer_of(load_hub_files(partial)), samples)
            if "docker" in formats:
                write_container(partial)
            parity = self._describe(samples)
            write_object(partial / PARITY, parity)
            write_card(self.run, self.trained, self.network, parity, partial / CARD)
        return self.folder

    # Forms

    def _write_onnx(self, folder: Path, samples: Samples) -> None:
        metadata = {"class_names": list(self.trained.class_names), "run": self.run.id, "opset": OPSET}
        write_onnx(self.network, self.size, self.channels, folder / ONNX, metadata)
        self._check(ONNX, OnnxNetwork(folder / ONNX, self.network), samples)
        shutil.copyfile(SCRIPT, folder / SCRIPT.name)
        self._check_script(folder, samples)

    def _write_int8(self, folder: Path, max_loss: float) -> None:
        splits = set_up(self.run).splits
        num_calibration = write_int8(splits["train"], self.network, folder / ONNX, folder / ONNX_INT8)
        float32, int8 = (OnnxNetwork(folder / name, self.network) for name in (ONNX, ONNX_INT8))
        cost = measure_int8(splits["val"], float32, int8, num_calibration)
        if cost.loss > max_loss:
            raise ParityError(
                f"8 bits lose {cost.loss:.2f} points of validation accuracy, more than {max_loss:g} "
                f"({cost.before:.2%} to {cost.after:.2%}, {cost.num_images:,} images); --max_loss allows more"
            )
        self.forms[ONNX_INT8] = cost.as_json()
        self.report(f"{ONNX_INT8}: {cost}")

    def _write_programs(self, folder: Path, samples: Samples, is_compiled: bool) -> None:
        program = write_program(self.network, self.size, self.channels, folder / PROGRAM)
        self._check(PROGRAM, TorchProgram(folder / PROGRAM, self.network), samples)
        if is_compiled:
            write_compiled(program, folder / COMPILED)
            self._check(COMPILED, TorchProgram(folder / COMPILED, self.network, is_compiled=True), samples)

    # Proof

    def _check(self, form: str, answer: Callable[[Tensor], np.ndarray], samples: Samples) -> None:
        parity = check_parity(form, answer, samples)
        self.forms[form] = parity.as_json()
        self.report(
            f"{form}: probabilities differ by at most {parity.max_difference:.1e}, {parity.share_equal:.2%} equal answers"
        )

        self.forms[form]["torch"] = torch.__version__
        if self.network.reading is not None and form != WEIGHTS:
            whole = check_whole_images(form, answer, self.network, samples)
            self.forms[form]["whole_images"] = whole.as_json()
            self.report(
                f"{form}: with its own resizing, probabilities differ by at most {whole.max_difference:.2g} from the run's, "
                f"{whole.share_equal:.2%} equal answers"
            )

    def _check_script(self, folder: Path, samples: Samples) -> None:
        """Runs the stand-alone script on the files, and compares its answers."""
        parity = check_script(folder / SCRIPT.name, samples, folder.with_suffix(SAMPLES))
        self.forms[ONNX]["script"] = parity.as_json()
        self.report(str(parity))

    def _describe(self, samples: Samples) -> dict[str, Any]:
        """The content of ``parity.json``."""
        return {
            "checkpoint": self._checkpoint_digest,
            "layout": self.network.layout,
            "dtype": self.network.dtype,
            "takes_any_size": self.network.reading is not None,
            "opset": OPSET,
            "tolerance": TOLERANCE,
            "images": {
                "validation": samples.num_validation,
                "training": len(samples.files) - samples.num_validation,
            },
            "batch_sizes": list(BATCH_SIZES),
            "forms": self._earlier_forms() | self.forms,
        }

    # Folder

    @contextlib.contextmanager
    def _partial_folder(self) -> Iterator[Path]:
        """A folder that takes the place of ``export`` at the end; after an error it is removed."""
        for left in self.run.path.glob(".export-*"):  # by an export that was killed
            if left.suffix == ".replaced" and not self.folder.exists():
                left.rename(self.folder)
            else:
                shutil.rmtree(left, ignore_errors=True)
        partial = self.run.path / f".export-{secrets.token_hex(4)}.partial"
        replaced = partial.with_suffix(".replaced")
        try:
            if self.folder.exists():
                shutil.copytree(self.folder, partial)
            else:
                partial.mkdir()
            if not self._earlier_forms():
                for name in FILES:
                    (partial / name).unlink(missing_ok=True)
            yield partial
            removed = sorted(name for name in FILES if (self.folder / name).exists() and not (partial / name).exists())
            if self.folder.exists():
                self.folder.rename(replaced)
            partial.rename(self.folder)
            if removed:
                self.report(f"removed, of another checkpoint, --layout, --dtype or --resize: {', '.join(removed)}")
        finally:
            if replaced.exists() and not self.folder.exists():
                replaced.rename(self.folder)
            for left in (partial, replaced, partial.with_suffix(SAMPLES)):
                shutil.rmtree(left, ignore_errors=True)

    def _earlier_forms(self) -> dict[str, Any]:
        """What earlier exports of the same checkpoint, for the same images, have left; nothing that is damaged."""
        earlier = _read_parity(self.run)
        own = (self._checkpoint_digest, self.network.layout, self.network.dtype, self.network.reading is not None)
        is_same = tuple(earlier.get(name) for name in ("checkpoint", "layout", "dtype", "takes_any_size")) == own
        return dict(earlier.get("forms", {})) if is_same else {}

    @cached_property
    def _checkpoint_digest(self) -> str:
        return digest_of(Path(self.trained.source))


def images_of_earlier_export(run: Run) -> dict[str, Any]:
    """Arguments of :class:`Export` that give the images of the run's earlier export; empty if there is none."""
    return {name: value for name, value in _read_parity(run).items() if name in ("layout", "dtype", "takes_any_size")}


def _read_parity(run: Run) -> dict[str, Any]:
    try:
        return read_object(run.path / FOLDER / PARITY)
    except (OSError, ValueError):
        return {}


def answer_of(trained: Trained) -> Callable[[Tensor], np.ndarray]:
    """Probabilities (N, num_classes) for pixels uint8 (N, C, H, W), computed in PyTorch."""

    def answer(pixels: Tensor) -> np.ndarray:
        with torch.inference_mode():
            return trained.classifier(trained.preprocess(pixels)).float().softmax(dim=1).numpy(force=True)

    return answer
