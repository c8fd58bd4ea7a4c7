"""The predictions of a run: what its network answered for each image of a split."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lit_cnn.system.whole_files import put_in_place


@dataclass(frozen=True, eq=False)
class RunPredictions:
    """The answers of a network for the images of a split, in the order of the split.

    Args:
        images: File of each image in the folder, with ``/``; its number if there are no files.
        labels: Class of each image, (N,) int64.
        logits: (N, C) float32.
        class_names: Names of the C classes.
        digest: Digest of the images and their labels; None if it is not known.
        checkpoint: The evaluated checkpoint, relative to the run's folder.
        step: Number of steps of the optimiser after which it was saved; None if it is not known.
        folder: Folder of the images as it was given, with its last separator; empty if there are no files.
    """

    images: Sequence[str]
    labels: np.ndarray
    logits: np.ndarray
    class_names: Sequence[str]
    digest: str | None = None
    checkpoint: str | None = None
    step: int | None = None
    folder: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def predicted(self) -> np.ndarray:
        """The likeliest class of each image, (N,) int64."""
        return self.logits.argmax(axis=1)

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether each image was recognised, (N,) bool."""
        return self.predicted == self.labels

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(N, C) float64; each row sums to 1."""
        exponentials = np.exp(self.logits.astype(np.float64) - self.logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def write(self, path: Path) -> None:
        """Writes the file, whole or not at all.

        Raises:
            OSError: If it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        try:
            with partial.open("wb") as file:
                np.savez_compressed(
                    file,
                    images=np.asarray(self.images, dtype=np.str_),
                    labels=self.labels.astype(np.int64),
                    logits=self.logits.astype(np.float32),
                    class_names=np.asarray(self.class_names, dtype=np.str_),
                    digest=np.asarray(self.digest or ""),
                    checkpoint=np.asarray(self.checkpoint or ""),
                    step=np.asarray(-1 if self.step is None else self.step),
                    folder=np.asarray(self.folder),
                )
            put_in_place(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> RunPredictions:
        """Reads the file; runs no code from it.

        Raises:
            ValueError: If it is damaged.
            FileNotFoundError: If there is none.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                images = arrays["images"].tolist()
                step = int(arrays["step"]) if "step" in arrays else -1
                # Earlier versions wrote whole paths. Present ones write them from the folder of the data. What the images of
                # a split have in common there stays: those of another seed or fold may differ in it alone.
                folder = str(arrays["folder"]) if "folder" in arrays else _common_folder(images)
                read = cls(
                    images=images if "folder" in arrays else [image.removeprefix(folder) for image in images],
                    labels=arrays["labels"],
                    logits=arrays["logits"],
                    class_names=arrays["class_names"].tolist(),
                    digest=str(arrays["digest"]) or None,
                    checkpoint=str(arrays["checkpoint"]) or None,
                    step=step if step >= 0 else None,
                    folder=folder,
                )
            read._check()
            return read
        # TypeError: a step that is no single number. RuntimeError: damaged flags of the archive.
        except (ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} is damaged: evaluate the run again") from error

    def _check(self) -> None:
        """Raises a ValueError if the parts are not of the same images and classes."""
        num_images, num_classes = len(self.images), len(self.class_names)
        if self.labels.shape != (num_images,) or self.logits.shape != (num_images, num_classes):
            raise ValueError("other numbers of images or classes")
        labels_are_classes = np.issubdtype(self.labels.dtype, np.integer) and np.isin(self.labels, range(num_classes)).all()
        if not labels_are_classes or not np.issubdtype(self.logits.dtype, np.floating):
            raise ValueError("labels that are no classes, or logits that are no numbers")


def _common_folder(files: Sequence[str]) -> str:
    """The folder that holds all files, with its last separator; empty if there is none."""
    prefix = os.path.commonprefix(files)  # noqa: RUF071 - cut after the last separator below
    return prefix[: max(prefix.rfind("/"), prefix.rfind(os.sep)) + 1]
