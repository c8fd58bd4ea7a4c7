"""Checkpoint files: written whole, and read without running code."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from lit_cnn.runs.format import CHECKPOINT_KEY, check_format
from lit_cnn.system.memory import format_bytes
from lit_cnn.system.whole_files import sync_folder

# Checkpoints whose previous version is kept beside them.
WITH_PREVIOUS = ("last.ckpt",)


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint under another name, then renames it. Reads only files, and runs no code from them.

    If the machine stops while a checkpoint is written, the file is the old one or the new one, whole. Before ``last.ckpt``
    is replaced, it becomes ``last.previous.ckpt``.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            OSError: If it cannot be written; names the needed and the free room. The earlier checkpoint stays.
        """
        path = Path(path)
        partial = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            if path.name in WITH_PREVIOUS and path.is_file():
                _keep_as_previous(path)
            partial.replace(path)
            sync_folder(path.parent)
        except (OSError, RuntimeError) as error:  # torch's writer raises the latter
            partial.unlink(missing_ok=True)
            raise OSError(
                f"the checkpoint {path} cannot be written ({_reason(error)}): it takes "
                f"{format_bytes(num_bytes(checkpoint))}, {_room(path.parent)}; the previous one is unchanged"
            ) from error

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes a file."""
        Path(path).unlink(missing_ok=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Callable | None = lambda storage, _: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint; see :func:`read_checkpoint`."""
        return read_checkpoint(path, map_location)


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads a checkpoint file of tensors and plain values. Checks that it is whole, and runs no code from it.

    Raises:
        ValueError: If the path is no file, if the file is damaged or holds anything else than tensors and plain values, or
            if this version of lit-cnn cannot read its format.
    """
    problem = find_damage(path)
    if problem:
        raise ValueError(f"{path} is not a whole checkpoint: {problem}")
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} is refused: it holds more than tensors and plain values; nothing in it was run") from error
    except (RuntimeError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a whole checkpoint: {_reason(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a checkpoint: it holds a {type(content).__name__}")
    if CHECKPOINT_KEY in content:  # not of another program
        check_format(content[CHECKPOINT_KEY], path)
    return content


def peek(path: str | Path) -> dict[str, Any]:
    """Content of a checkpoint file without reading its tensors; nothing if it cannot be read."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # torch raises many kinds for files that are damaged, foreign or missing
        return {}
    return content if isinstance(content, dict) else {}


def find_damage(path: str | Path) -> str | None:
    """Why a file is not a whole checkpoint of torch; None if all its parts have the right checksums."""
    if "://" in str(path):
        return "it must be a file, not an address"
    path = Path(path)
    if not path.is_file():
        return f"the link to {path.readlink()} leads nowhere" if path.is_symlink() else "there is no such file"
    try:
        if path.stat().st_size == 0:
            return "it is empty"
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:  # damaged flags make zipfile ask for a password, report an unknown method, and more
        try:
            with path.open("rb") as file:
                old_format = file.read(2) == b"\x80\x02"
        except OSError as gone:
            return _reason(gone)
        return None if old_format else _reason(error)  # the old format has no checksums: torch.load will tell
    return f"{broken} in it is damaged" if broken else None


def previous(path: Path) -> Path:
    """The path of the previous version of a checkpoint."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def num_bytes(content: Any) -> int:
    """Bytes of all tensors in nested mappings and sequences."""
    if isinstance(content, Tensor):
        return content.numel() * content.element_size()
    if isinstance(content, Mapping):
        return sum(map(num_bytes, content.values()))
    return sum(map(num_bytes, content)) if isinstance(content, (list, tuple)) else 0


def _keep_as_previous(path: Path) -> None:
    """Links the file to its previous name in one step; moves it if the file system has no links."""
    link = path.with_name(f".{path.name}.link")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
        link.replace(previous(path))
    except OSError:
        path.replace(previous(path))


def _room(folder: Path) -> str:
    try:
        return f"{format_bytes(shutil.disk_usage(folder).free)} are free"
    except OSError:
        return "the folder does not exist"


def _reason(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
