"""Features in a file of NumPy: rows go to the disk as they come."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from lit_cnn.commands.output import open_binary_output


class NpzRows:
    """Rows of file, features and perhaps a label, for :func:`numpy.load`.

    The header of an array has its length: features wait in a file of their own until all are there.

    Args:
        spool: Takes the features until then.
        width: Features of an image.
        has_labels: Whether rows have labels.
    """

    def __init__(self, spool: IO[bytes], width: int, has_labels: bool) -> None:
        self.spool = spool
        self.width = width
        self.files: list[str] = []
        self.labels: list[str] | None = [] if has_labels else None

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Adds rows."""
        for file, features, *label in rows:
            self.files.append(file)
            self.spool.write(np.ascontiguousarray(features, dtype="<f4").tobytes())
            if self.labels is not None:
                self.labels.append(label[0] or "")

    def end(self) -> None:
        """Writes what is still missing."""
        self.spool.flush()

    def save(self, file: BinaryIO) -> None:
        """Writes the arrays ``features`` (N, D) float32, ``files`` (N,) and ``labels`` (N,), empty where there is none."""
        names = {"files": self.files, **({} if self.labels is None else {"labels": self.labels})}
        with zipfile.ZipFile(file, "w", allowZip64=True) as opened:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(self.files), self.width)}
            with opened.open("features.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_2_0(member, header)
                self.spool.seek(0)
                shutil.copyfileobj(self.spool, member)
            for name, texts in names.items():
                with opened.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.array(texts, dtype=np.str_), allow_pickle=False)


@contextlib.contextmanager
def open_npz(path: Path, width: int, has_labels: bool) -> Iterator[NpzRows]:
    """Opens a file for features; after an error, nothing is left of it.

    Args:
        path: Ends with ``.npz``.
        width: Features of an image.
        has_labels: Whether rows have labels.
    """
    with open_binary_output(path) as file, tempfile.TemporaryFile(dir=path.resolve().parent) as spool:
        rows = NpzRows(spool, width, has_labels)
        yield rows
        rows.end()
        rows.save(file)
