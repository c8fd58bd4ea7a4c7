"""Decoded images in a file that is mapped into memory: images are read from disk and need no second decoding."""

from __future__ import annotations

import contextlib
import glob
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from lit_cnn.system.memory import format_bytes
from lit_cnn.system.whole_files import ABANDONED_S


def mapped(folder: Path, name: str, digest: str, shape: Sequence[int], fill: Callable[[Tensor], None]) -> Tensor | None:
    """A uint8 tensor in a file. Makes the file if it is missing.

    Args:
        folder: The file is ``name-digest.uint8`` in this folder.
        name: Name of the images. Files with this name and another digest are outdated and are removed.
        digest: Digest of the images and of how they are decoded.
        shape: Shape of the tensor.
        fill: Called with the tensor of a new file, to write its values.

    Returns:
        The tensor. None if the folder cannot be written or has no room; the reason is printed.
    """
    path = folder / f"{name}-{digest}.uint8"
    num_bytes = math.prod(shape)
    try:
        if path != Path(str(path).encode(errors="replace").decode()):
            raise OSError("its name is not UTF-8")
        if not (path.is_file() and path.stat().st_size == num_bytes):
            folder.mkdir(parents=True, exist_ok=True)
            _remove_outdated(folder, name, path)
            _make(path, num_bytes, lambda pixels: fill(pixels.view(*shape)))
        return _map(path, num_bytes, shared=False).view(*shape)
    except (OSError, RuntimeError) as error:  # torch: another process has just removed the file
        _print(
            f"decoded images cannot be saved in {folder} ({error}): "
            f"they are decoded again in each epoch if they take more than data.memory_gb"
        )
        return None


def _make(path: Path, num_bytes: int, fill: Callable[[Tensor], None]) -> None:
    """Writes a file under another name first, so that it is never there in part."""
    free = shutil.disk_usage(path.parent).free
    if num_bytes > free:
        raise OSError(f"{format_bytes(num_bytes)} are needed, {format_bytes(free)} are free")
    _print(f"decoding once into {path}, {format_bytes(num_bytes)}")
    partial = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        with partial.open("xb") as file:
            # If the disk is full, writing to a mapped file kills the process: reserve the room first.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, num_bytes)
            else:
                file.truncate(num_bytes)
            fill(_map(partial, num_bytes, shared=True))
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _map(path: Path, num_bytes: int, shared: bool) -> Tensor:
    return torch.from_file(str(path), shared=shared, size=num_bytes, dtype=torch.uint8)


def _remove_outdated(folder: Path, name: str, path: Path) -> None:
    for other in folder.glob(f"{glob.escape(name)}-*.uint8*"):
        is_partial = other.suffix != ".uint8"
        with contextlib.suppress(FileNotFoundError):  # another process has just finished it
            if other != path and not (is_partial and time.time() - other.stat().st_mtime < ABANDONED_S):
                other.unlink()


@rank_zero_only
def _print(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
