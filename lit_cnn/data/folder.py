"""A user's own folder of images."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from lit_cnn.data.archive import is_archive, unpack
from lit_cnn.data.cache import digest_of, mapped
from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.preprocess import DECODING, is_grey, read_image
from lit_cnn.data.splits import TEST_SPLIT_SEED, ArrayImages, Split, stratified_split

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def find_images(folder: Path) -> list[Path]:
    """Image files anywhere below a folder, by their endings, sorted; hidden ones are left out.

    Raises:
        ValueError: If the folder does not exist.
    """
    if not folder.is_dir():
        raise ValueError(f"the folder {folder} does not exist")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


class FileImages:
    """Image files that are decoded when they are asked for.

    Args:
        paths: The files.
        labels: Class of each, (N,).
        image_size: Height and width after decoding, in pixels.
        channels: 1 for grey, 3 for colour.
    """

    def __init__(self, paths: Sequence[Path], labels: Tensor, image_size: int, channels: int) -> None:
        self.paths = list(paths)
        self.labels = labels
        self.image_size = image_size
        self.channels = channels

    def fetch(self, positions: Tensor) -> Tensor:
        return torch.stack([self._decode(self.paths[i]) for i in positions.tolist()])

    def _decode(self, path: Path) -> Tensor:
        return read_image(path, self.image_size, self.channels)

    def name(self, position: int) -> str:
        return str(self.paths[position])

    @property
    def num_bytes(self) -> int:
        """Size of all images when decoded."""
        return math.prod(self.shape)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of all images as one tensor."""
        return len(self.paths), self.channels, self.image_size, self.image_size

    def decode_into(self, pixels: Tensor) -> None:
        """Decodes every file into its place of a tensor of :attr:`shape`."""

        def decode(position: int) -> None:
            pixels[position] = self._decode(self.paths[position])

        with ThreadPoolExecutor(os.cpu_count()) as workers:
            deque(workers.map(decode, range(len(self.paths))), maxlen=0)

    def in_memory(self) -> ArrayImages:
        """Decodes every file once and keeps the pixels."""
        pixels = torch.empty(self.shape, dtype=torch.uint8)
        self.decode_into(pixels)
        return ArrayImages(pixels, self.labels, tuple(map(str, self.paths)))

    def in_file(self, folder: Path, name: str) -> ArrayImages | None:
        """Decodes every file once for all runs, see :func:`lit_cnn.data.cache.mapped`; None if it cannot be."""
        pixels = mapped(folder, name, digest_of(self.paths, DECODING, self.shape), self.shape, self.decode_into)
        return None if pixels is None else ArrayImages(pixels, self.labels, tuple(map(str, self.paths)))


class ImageFolder(ImageDataModule):
    """Photographs in one folder for each class.

    ``data_dir``, a folder or an archive (.zip, .tar.gz and the like), holds either the class folders, or ``train`` and
    possibly ``val`` and ``test`` with the class folders below them. A split that has no folder is carved from the training
    images, stratified: the same test images in every run, the validation images by ``split_seed``. The class folders' names,
    sorted, are the class names; mean and standard deviation are measured once from the training images and saved with the
    run.

    An image's shorter side is resized to ``image_size`` and the central square is used, in training and in prediction.
    Images are decoded once: into memory if they fit ``memory_gb``, else into a file below ``cache_dir`` that later runs find
    again as long as the images are the same, byte for byte.

    Args:
        data_dir: The folder.
        image_size: Height and width that the network sees, in pixels.
        batch_size: Images in a training step, over all devices together.
        val_fraction: Share of the training images that validates, where there is no ``val`` folder.
        test_fraction: Share of the images that tests, where there is no ``test`` folder.
        channels: 1 makes every image grey, 3 makes every image coloured; if not given, 1 when all training images are grey.
        crop_padding: Pixels by which an image is shifted at most in training; 0 for none.
        flip: Whether training mirrors every other image.
        memory_gb: Memory that the decoded images of a split may take, in 10⁹ bytes for each process.
        cache_dir: Folder for those that take more, and for what is unpacked; if not given, these are decoded anew in each
            epoch.
        on_bad_image: What to do with a file that cannot be decoded: ``error`` names it and ends, ``skip`` leaves it out and
            says how many there are. Leaving out takes a second decoding of every file.
        num_workers: Threads that prepare batches ahead; as many as there are processors if not given.
        seed: Of the order, the augmentation and the validation split; that of ``seed_everything`` if not given, else 0.
        augmentation_seed: Of the augmentation alone.
        split_seed: Of the validation split alone.

    Raises:
        ValueError: If the folder is missing, holds no class folders, or a class is without images or differs between splits.
    """

    name = "image_folder"
    native_size = 224

    def __init__(
        self,
        data_dir: str,
        image_size: int = 224,
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
        if is_archive(self.data_dir):
            self.data_dir = unpack(self.data_dir, Path(cache_dir or tempfile.gettempdir()).expanduser())
        self.native_size = self.image_size  # files are decoded at the size that the network sees
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction must be above 0 and below 1, got {test_fraction}")
        self.test_fraction = test_fraction
        self.memory_gb = memory_gb
        self.cache_dir = self.hparams["cache_dir"] = str(cache_dir) if cache_dir else None
        self.on_bad_image = on_bad_image
        self._channels = channels

    def prepare_data(self) -> None:
        # With several processes, the first decodes into files while the others wait; they find them there.
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
        # The names alone: a difference is not to be found when training has ended. Test images without labels, which others
        # keep in such a folder, are no matter until they are to be tested on.
        test = self._split_folder("test")
        labelled = test and sum(path.is_dir() for path in test.iterdir()) > 1
        for own in (self._split_folder("val"), test if labelled else None):
            if own:
                self._check_classes(own)
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
        found = self._classes_below(folder)
        if found != self.class_names:
            missing, extra = set(self.class_names) - set(found), set(found) - set(self.class_names)
            raise ValueError(
                f"the class folders of {folder} differ from those of the training images"
                + (f"; missing: {', '.join(sorted(missing))}" if missing else "")
                + (f"; not in training: {', '.join(sorted(extra))}" if extra else "")
            )

    def _files_below(self, folder: Path) -> tuple[list[Path], Tensor]:
        self._check_classes(folder)
        paths: list[Path] = []
        labels: list[int] = []
        direct = False
        for label, name in enumerate(self.class_names):
            files = self._readable(find_images(folder / name))
            if not files:
                raise ValueError(f"the class folder {folder / name} holds no image ({', '.join(SUFFIXES)})")
            direct = direct or any(file.parent.name == name for file in files)
            paths += files
            labels += [label] * len(files)
        if not direct:
            raise ValueError(
                f"the folders {', '.join(self.class_names)} in {folder} hold folders of images, not images: "
                f"are the classes one level deeper?"
            )
        return paths, torch.tensor(labels)

    def _readable(self, paths: list[Path]) -> list[Path]:
        if self.on_bad_image == "error":
            return paths

        def problem(path: Path) -> str | None:
            try:
                read_image(path, self.image_size, 3)
            except ValueError as error:
                return str(error)
            return None

        with ThreadPoolExecutor(os.cpu_count()) as workers:
            problems = list(workers.map(problem, paths))
        bad = [what for what in problems if what]
        if bad:
            rank_zero_warn(
                f"{len(bad)} of {len(paths)} files are left out: {'; '.join(bad[:3])}{' …' if len(bad) > 3 else ''}"
            )
        return [path for path, what in zip(paths, problems, strict=True) if not what]

    def files(self, split: Split) -> FileImages | None:
        """The files of a split, not decoded; None for a validation set that is to be carved from the training images."""
        own = self._split_folder(split)
        if split == "val" and own is None:
            return None
        paths, labels = self._files_below(own) if own else self._training_files
        if split != "val" and self._split_folder("test") is None:
            train, test = stratified_split(labels, self.test_fraction, TEST_SPLIT_SEED)
            part = train if split == "train" else test
            paths, labels = [paths[i] for i in part.tolist()], labels[part]
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
        # One file for each place that images come from and each way to divide them, of what lies there now.
        place = self.data_dir.resolve()
        digest = hashlib.blake2b(f"{place} {self.test_fraction}".encode(), digest_size=6).hexdigest()
        name = f"{place.name}-{digest}-{split}-{self.image_size}x{self.channels}"
        return files.in_file(Path(self.cache_dir).expanduser(), name) or files
