"""Decoded images in a file that is mapped into memory: what does not fit there is read from disk, not decoded again."""

from __future__ import annotations

import glob
import hashlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import PIL
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from lit_cnn.system.memory import format_bytes

# What a process left behind that was killed while it decoded is removed after a day.
ABANDONED_S = 24 * 3600


def digest_of(paths: Iterable[Path], *settings: object) -> str:
    """A short digest of files' contents, in order, and of what they are decoded with; their names and dates do not count.

    Raises:
        OSError: If a file cannot be read.
    """

    def digest(path: Path) -> bytes:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()

    whole = hashlib.blake2b(repr((PIL.__version__, *settings)).encode(), digest_size=12)
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        for one in workers.map(digest, paths):
            whole.update(one)
    return whole.hexdigest()


def mapped(folder: Path, name: str, digest: str, shape: Sequence[int], fill: Callable[[Tensor], None]) -> Tensor | None:
    """A uint8 tensor that lives in a file, which is made if it is not there yet.

    Args:
        folder: Where the file is: ``name-digest.uint8``.
        name: Of what was decoded. Files of this name with another digest are of what that was before: they are removed.
        digest: Of its contents, see :func:`digest_of`.
        shape: Of the tensor.
        fill: Called with the tensor when the file is new, to write its values.

    Returns:
        The tensor; None if the folder cannot be written or has no room, which is said.
    """
    path = folder / f"{name}-{digest}.uint8"
    num_bytes = math.prod(shape)
    try:
        if not (path.is_file() and path.stat().st_size == num_bytes):
            folder.mkdir(parents=True, exist_ok=True)
            _remove_outdated(folder, name, path)
            _make(path, num_bytes, lambda pixels: fill(pixels.view(*shape)))
        return _map(path, num_bytes, shared=False).view(*shape)
    except OSError as error:
        _say(f"decoded images cannot be kept in {folder} ({error}): they are decoded as they come")
        return None


def _make(path: Path, num_bytes: int, fill: Callable[[Tensor], None]) -> None:
    """Writes a file under another name first, so that there is never half of it."""
    free = shutil.disk_usage(path.parent).free
    if num_bytes > free:
        raise OSError(f"{format_bytes(num_bytes)} are needed, {format_bytes(free)} are free")
    _say(f"decoding once into {path}, {format_bytes(num_bytes)}")
    partial = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        with partial.open("xb") as file:
            # Writing to a mapped file for which the disk has no room would kill the process.
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
        unfinished = other.suffix != ".uint8"
        if other != path and not (unfinished and time.time() - other.stat().st_mtime < ABANDONED_S):
            other.unlink(missing_ok=True)


@rank_zero_only
def _say(message: str) -> None:
    print(message, flush=True)
