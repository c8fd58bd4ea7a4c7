"""A network as a program of torch.export, which runs without this package; and compiled ahead of time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lit_cnn.export.network import ExportedNetwork


def write_program(network: ExportedNetwork, size: int, channels: int, path: Path) -> torch.export.ExportedProgram:
    """Writes a program for batches of any number of images; read it with ``torch.export.load``."""
    example = network.example(2, size, channels)
    program = torch.export.export(network, (example,), dynamic_shapes=network.dynamic_shapes)
    torch.export.save(program, path)
    return program


def write_compiled(program: torch.export.ExportedProgram, path: Path) -> None:
    """Compiles a program for this kind of processor, with the C++ compiler of the machine.

    Read it with ``torch._inductor.aoti_load_package``.
    """
    torch._inductor.aoti_compile_and_package(program, package_path=str(path))


class TorchProgram:
    """Answers with a program of torch.export, or a compiled one.

    Args:
        path: The file.
        network: What was exported, for the form of its images.
        is_compiled: Whether it was compiled ahead of time.
    """

    def __init__(self, path: Path, network: ExportedNetwork, is_compiled: bool = False) -> None:
        self.network = network
        self.run = torch._inductor.aoti_load_package(str(path)) if is_compiled else torch.export.load(path).module()

    def __call__(self, pixels: Tensor) -> np.ndarray:
        """Probabilities (N, num_classes) for pixels uint8 (N, C, H, W)."""
        with torch.inference_mode():
            return self.run(self.network.as_input(pixels)).numpy(force=True)
