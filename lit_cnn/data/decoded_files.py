"""The pixels of a dataset of files: decoded once, into a cache or into memory."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.data.files import FileImages
from lit_cnn.data.loader import Images
from lit_cnn.data.manifest import Entry, Manifest
from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.reading import Reading
from lit_cnn.data.sharing import read_once
from lit_cnn.data.splits import ArrayImages, Split, Subset
from lit_cnn.errors import DataWarning


class DecodedFiles(ImageDataModule, ABC):
    """Decodes the files of a manifest. Which these are knows :class:`lit_cnn.data.image_files.ImageFiles`."""

    data_dir: Path
    test_fraction: float
    memory_gb: float
    cache_dir: Path | None
    _stage: str

    @property
    @abstractmethod
    def manifest(self) -> Manifest:
        """All images with their classes and splits."""

    @property
    @abstractmethod
    def reading(self) -> Reading:
        """How a file becomes pixels."""

    @abstractmethod
    def _usable(self, stage: str) -> Manifest:
        """The images that are there; raises a ValueError if one that the stage needs is not."""

    def _forget_pixels(self) -> None:
        self.splits.clear()
        for name in ("_pool", "preprocessing"):
            self.__dict__.pop(name, None)

    def prepare_data(self) -> None:
        # With several processes, the first decodes into the cache while the others wait; then they read it from there.
        trainer = self.trainer
        if trainer and trainer.world_size > 1 and self.cache_dir:
            self.read("test" if trainer.state.fn == "test" else "train")

    def files(self, split: Split) -> FileImages:
        """The files of a split, not decoded."""
        return self._files_of(self._usable("test" if split == "test" else "validate").of(split))

    def _files_of(self, entries: list[Entry]) -> FileImages:
        label = {name: number for number, name in enumerate(self.class_names)}
        root = str(self.data_dir)
        paths = [os.path.join(root, entry.path) for entry in entries]  # noqa: PTH118 - many times as fast as Path
        labels = torch.tensor([label[entry.class_name] for entry in entries], dtype=torch.long)
        return FileImages(paths, labels, self.reading, [entry.digest for entry in entries])

    def _with_digest(self, split: Split) -> Images:
        return self.read(split)  # the manifest has the digest

    def _set_up_training_splits(self) -> None:
        if "train" not in self.splits:
            if self.is_other_data:
                self.check_images("validate")
            for leak in self.manifest.leaks():
                rank_zero_warn(leak, category=DataWarning)
        super()._set_up_training_splits()

    def read(self, split: Split) -> ArrayImages | FileImages | Subset:
        if split == "test":
            return self._decoded("test", self._files_of(self._usable("test").of("test")))
        entries, images = self._pool
        return Subset(images, torch.tensor([i for i, entry in enumerate(entries) if entry.split == split], dtype=torch.long))

    @cached_property
    def _pool(self) -> tuple[list[Entry], ArrayImages | FileImages]:
        """The training and validation images: decoded together, so that every seed and every fold uses the same file."""
        stage = str(self.trainer.state.fn.value) if self.trainer is not None and self.trainer.state.fn else self._stage
        entries = self._usable(stage).of("train", "val")
        return entries, self._decoded("train", self._files_of(entries))

    def _decoded(self, name: str, files: FileImages) -> ArrayImages | FileImages:
        # One file for each folder, split and shape: when the images change, the new file replaces the old one.
        place = f"{self.data_dir.resolve()} {self.name} {self.test_fraction}"
        digest = hashlib.blake2b(place.encode(errors="surrogateescape"), digest_size=6).hexdigest()
        # torch opens no file whose name is not UTF-8, and a file system none whose name is very long.
        title = self.name.encode(errors="replace").decode()[:40]
        name = f"{title}-{digest}-{name}-{files.reading.name}"
        key = (name, self.cache_dir, self.memory_gb, self.class_names, tuple(files.files), tuple(files.digests))
        return read_once(key, lambda: files.decoded(self.cache_dir, name, self.memory_gb * 1e9))
