"""A user's own folder of images."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from lit_cnn.data.archive import is_archive, own_name, unpack
from lit_cnn.data.files import SUFFIXES, FileImages, decoding_errors, find_images
from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.preprocess import is_grey
from lit_cnn.data.splits import TEST_SPLIT_SEED, ArrayImages, Split, stratified_split


class ImageFolder(ImageDataModule):
    """A user's own images, in one folder for each class.

    ``data_dir`` is a folder or an archive (.zip, .tar.gz and others). It holds the class folders, or ``train`` and
    optionally ``val`` and ``test`` with the class folders in each. A missing ``val`` or ``test`` is taken from the training
    images, stratified by class. Every run has the same test images; ``split_seed`` chooses the validation images.

    The names of the class folders, sorted, are the class names. Mean and standard deviation are measured on the training
    images and saved with the run.

    An image's shorter side is resized to ``image_size`` and the central square is used, in training and in prediction.
    Images are decoded once: into memory if they fit into ``memory_gb``, else into a file in ``cache_dir``. Later runs use
    that file again while the images are the same, byte for byte.

    Args:
        data_dir: The folder or the archive.
        image_size: Height and width that the network sees, in pixels; 224 if not given, on the command line the size that
            the network was made for.
        batch_size: Images in a training step, over all devices together.
        val_fraction: Share of the training images that becomes the validation set if there is no ``val`` folder.
        test_fraction: Share of the images that becomes the test set if there is no ``test`` folder.
        channels: 1 reads every image as grey, 3 as colour. If not given, 1 if all training images are grey, else 3.
        crop_padding: Training shifts an image by up to this many pixels; 0 for none.
        flip: Whether training mirrors an image with probability one half.
        memory_gb: Memory that the decoded images of a split may take, in 10⁹ bytes for each process.
        cache_dir: Folder for decoded images that do not fit into memory, and for unpacked archives. If not given, such
            images are decoded again in each epoch.
        on_bad_image: What to do with a file that cannot be decoded: ``error`` names it and ends, ``skip`` leaves it out and
            warns. ``skip`` decodes every file a second time.
        num_workers: Threads that prepare batches in advance; one for each processor if not given.
        seed: Seed of order, augmentation and validation split. If not given, that of ``seed_everything``, or 0.
        augmentation_seed: Seed of the augmentation only, in place of ``seed``.
        split_seed: Seed of the validation split only, in place of ``seed``.

    Raises:
        ValueError: If the folder is missing or holds no class folders, or a class has no images or is not in every split.
    """

    native_size = 224

    def __init__(
        self,
        data_dir: str,
        image_size: int | None = None,
        batch_size: int = 32,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        channels: Literal[1, 3] | None = None,
        crop_padding: int = 0,
        flip: bool = True,
        memory_gb: float = 2.0,
        cache_dir: str | None = "~/.cache/lit_cnn",
        on_bad_image: Literal["error", "skip"] = "error",
        num_workers: int | None = None,
        seed: int | None = None,
        augmentation_seed: int | None = None,
        split_seed: int | None = None,
    ) -> None:
        workers = (os.cpu_count() or 1) if num_workers is None else num_workers
        seeds = seed, augmentation_seed, split_seed
        super().__init__(data_dir, image_size, batch_size, val_fraction, crop_padding, flip, workers, *seeds)
        self.name = own_name(self.data_dir)
        if is_archive(self.data_dir):
            self.data_dir = unpack(self.data_dir, Path(cache_dir or tempfile.gettempdir()).expanduser())
        self.native_size = self.image_size  # files are decoded to the size that the network sees
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction must be above 0 and below 1, got {test_fraction}")
        self.test_fraction = test_fraction
        self.memory_gb = memory_gb
        self.cache_dir = self.hparams["cache_dir"] = str(cache_dir) if cache_dir else None
        self.on_bad_image = on_bad_image
        self._channels = channels

    def prepare_data(self) -> None:
        # With several processes, the first decodes into the cache while the others wait; then they read it from there.
        trainer = self.trainer
        if trainer and trainer.world_size > 1:
            splits: tuple[Split, ...] = ("test",) if trainer.state.fn == "test" else ("train", "val")
            for split in splits:
                files = self.files(split)
                if files is not None and not self._fits(files):
                    self.read(split)

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._classes_below(self._split_folder("train") or self.data_dir)

    @cached_property
    def channels(self) -> int:  # type: ignore[override]
        if self._channels is not None:
            return self._channels
        paths, _ = self._training_files
        return 1 if all(map(is_grey, paths)) else 3

    @cached_property
    def _training_files(self) -> tuple[list[Path], Tensor]:
        # Compares the names of the class folders now, so that a difference is not found after training. A test folder may
        # hold images without class folders: that is an error only when they are tested on.
        test = self._split_folder("test")
        has_classes = test and sum(path.is_dir() for path in test.iterdir()) > 1
        for folder in (self._split_folder("val"), test if has_classes else None):
            if folder:
                self._check_classes(folder)
        return self._files_below(self._split_folder("train") or self.data_dir)

    def _split_folder(self, split: Split) -> Path | None:
        folder = self.data_dir / split
        return folder if folder.is_dir() and (self.data_dir / "train").is_dir() else None

    def _split_arguments(self) -> dict[str, float]:
        return super()._split_arguments() | {"test_fraction": self.test_fraction}

    @staticmethod
    def _classes_below(folder: Path) -> tuple[str, ...]:
        if not folder.is_dir():
            raise ValueError(f"the folder {folder} does not exist: name the folder of your images with --data.data_dir")
        names = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))
        if len(names) < 2:
            raise ValueError(
                f"{folder} holds {len(names)} class folders, but a classifier needs at least two: "
                f"put the images of each class into a folder of its own, like {folder}/cat/1.jpg"
            )
        if folder.name != "train" and {"val", "test"} & set(names):
            raise ValueError(
                f"{folder} holds {' and '.join(sorted({'val', 'test'} & set(names)))} but no train: "
                f"put the class folders for training below {folder}/train"
            )
        return names

    def _check_classes(self, folder: Path) -> None:
        names = self._classes_below(folder)
        if names != self.class_names:
            missing, extra = set(self.class_names) - set(names), set(names) - set(self.class_names)
            raise ValueError(
                f"the class folders of {folder} differ from those of the training images"
                + (f"; missing: {', '.join(sorted(missing))}" if missing else "")
                + (f"; not in training: {', '.join(sorted(extra))}" if extra else "")
            )

    def _files_below(self, folder: Path) -> tuple[list[Path], Tensor]:
        self._check_classes(folder)
        paths: list[Path] = []
        labels: list[int] = []
        has_direct_images = False
        for label, name in enumerate(self.class_names):
            files = self._readable(find_images(folder / name))
            if not files:
                raise ValueError(f"the class folder {folder / name} holds no image ({', '.join(SUFFIXES)})")
            has_direct_images = has_direct_images or any(file.parent.name == name for file in files)
            paths += files
            labels += [label] * len(files)
        if not has_direct_images:
            raise ValueError(
                f"the folders {', '.join(self.class_names)} in {folder} hold folders of images, not images: "
                f"are the classes one level deeper?"
            )
        return paths, torch.tensor(labels)

    def _readable(self, paths: list[Path]) -> list[Path]:
        if self.on_bad_image == "error":
            return paths

        errors = decoding_errors(paths, self.image_size)
        if errors:
            first = "; ".join(list(errors.values())[:3]) + (" …" if len(errors) > 3 else "")
            rank_zero_warn(f"{len(errors)} of {len(paths)} files are left out: {first}")
        return [path for path in paths if path not in errors]

    def files(self, split: Split) -> FileImages | None:
        """The files of a split, not decoded; None for ``val`` if it is to be taken from the training images."""
        folder = self._split_folder(split)
        if split == "val" and folder is None:
            return None
        paths, labels = self._files_below(folder) if folder else self._training_files
        if split != "val" and self._split_folder("test") is None:
            train, test = stratified_split(labels, self.test_fraction, TEST_SPLIT_SEED)
            index = train if split == "train" else test
            paths, labels = [paths[i] for i in index.tolist()], labels[index]
        return FileImages(paths, labels, self.image_size, self.channels)

    def _fits(self, files: FileImages) -> bool:
        return files.num_bytes <= self.memory_gb * 1e9

    def read(self, split: Split) -> ArrayImages | FileImages | None:
        files = self.files(split)
        if files is None:
            return None
        if self._fits(files):
            return files.in_memory()
        if self.cache_dir is None:
            return files
        # One file for each folder, split and shape: when the images change, the new file replaces the old one.
        folder = self.data_dir.resolve()
        digest = hashlib.blake2b(f"{folder} {self.test_fraction}".encode(), digest_size=6).hexdigest()
        name = f"{folder.name}-{digest}-{split}-{self.image_size}x{self.channels}"
        return files.in_file(Path(self.cache_dir).expanduser(), name) or files
