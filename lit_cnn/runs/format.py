"""The number of the format in which runs and checkpoints are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lit_cnn import __version__

# Raise it when an older version could not read the files any more, or would read them wrongly.
FORMAT = 1

# Key of the metadata in a checkpoint: format, version, class of the LightningModule.
CHECKPOINT_KEY = "lit_cnn"

# Key of the identity of a run in the checkpoints that it saves. A checkpoint that was copied elsewhere finds its run by it.
RUN_KEY = "lit_cnn_run"


def format_entries() -> dict[str, Any]:
    """Format and version, for the metadata of a file."""
    return {"format": FORMAT, "version": __version__}


def check_format(metadata: Any, path: str | Path) -> None:
    """Refuses files that this version cannot read.

    Args:
        metadata: With the keys of :func:`format_entries`.
        path: The file that holds them.

    Raises:
        ValueError: If the format is newer than this version knows, or older than the first release.
    """
    number = metadata.get("format") if isinstance(metadata, dict) else None
    if not isinstance(number, int):
        raise ValueError(f"{path} has no format number: it was written before lit-cnn's first release; train again")
    if number > FORMAT:
        raise ValueError(
            f"{path} has format {number}, written by lit-cnn {metadata.get('version', 'of unknown version')}; "
            f"lit-cnn {__version__} reads up to format {FORMAT}: update lit-cnn"
        )
