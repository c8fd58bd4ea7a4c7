"""What the results of a run may depend on besides its configuration."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lit_cnn.runs.format import format_entries

# What the name of a commit ends with if files were changed since.
DIRTY = "-dirty"
PACKAGES = ("lit-cnn", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "numpy", "pillow")
# Options whose values are folders of the machine that measured.
FOLDERS = {"--data.data_dir", "--data_dir", "--data-dir", "--runs_dir", "--data.cache_dir"}
# The folders above a file, in a word or after =.
_FOLDER = re.compile(r"(?:^|(?<==))(?:/|~|\.\.).*/")


def describe_environment(device: str, precision: str, world_size: int) -> dict[str, Any]:
    """Format, time, command, commit, versions and device.

    Args:
        device: Name of the device that computes.
        precision: As Lightning names it.
        world_size: Number of processes.
    """
    import torch

    return {
        **format_entries(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "commit": source_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "precision": precision,
        "world_size": world_size,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def source_commit() -> str | None:
    """Commit of this source, with :data:`DIRTY` if files were changed since; None if it is not under version control."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        # An installed package may lie in a folder of another repository.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def without_folders(words: Sequence[str]) -> list[str]:
    """A command without the folders of the machine that ran it."""
    pairs = zip(["", *words], words, strict=False)
    kept = [word for before, word in pairs if not {before, word.partition("=")[0]} & FOLDERS]
    return [_FOLDER.sub("", word) for word in kept]
