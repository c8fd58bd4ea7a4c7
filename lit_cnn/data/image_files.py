"""What a folder and a table of images have in common: a manifest, splits by content, decoding."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.data.division import Drawing
from lit_cnn.data.files import FileImages
from lit_cnn.data.index import FileFacts, FileIndex
from lit_cnn.data.listing import ListedImage, channels_of, classes_of, draw_entries, group_images
from lit_cnn.data.loader import Images
from lit_cnn.data.manifest import Entry, Manifest, beside, count, first, match
from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.splits import SPLITS, ArrayImages, Split, Subset


class ImageFiles(ImageDataModule):
    """Images in files, of a folder or a table.

    A missing validation or test set is drawn by the content of each image: adding, removing or renaming images moves no
    other image, and equal images are in the same set. Every run has the same test images; ``split_seed`` chooses the
    validation images. Training writes a manifest of all images. A checkpoint of that run brings its manifest with it: the
    run's own images stay in their splits, and images that came later are left out.

    Mean and standard deviation are measured on the training images and saved with the run.

    An image's shorter side is resized to ``image_size`` and the central square is used, in training and in prediction.
    Images are decoded once, into a file in ``cache_dir``. Later runs use that file again while the images are the same.

    Args:
        data_dir: Folder of the images.
        image_size: Height and width that the network sees, in pixels; 224 if not given, on the command line the size that
            the network was made for.
        batch_size: Images in a training step, over all devices together.
        val_fraction: Share of the training images that becomes the validation set if there is none.
        test_fraction: Share of the images that becomes the test set if there is none.
        group_by: Regular expression on the path of an image; its first group names what must not be divided between splits,
            for example a patient, a scene or a video.
        num_folds: Divides the training images into so many folds, one of which is the validation set.
        fold: Number of that fold, from 0.
        manifest: The ``data.json`` of an earlier run, whose images and splits are used.
        channels: 1 reads every image as grey, 3 as colour. If not given, 1 if all training images are grey, else 3.
        crop_padding: Training shifts an image by up to this many pixels; 0 for none.
        flip: Whether training mirrors an image with probability one half.
        memory_gb: Memory that decoded images may take if there is no room in ``cache_dir``, in 10⁹ bytes for each process.
        cache_dir: Folder for decoded images, for unpacked archives, and for what is known of each file. None to save
            nothing: every start reads and decodes all files again.
        on_bad_image: What to do with a file that cannot be decoded: ``error`` names it and ends, ``skip`` leaves it out and
            warns. ``skip`` decodes every new file a second time.
        num_workers: Threads that prepare batches in advance; one for each processor if not given.
        seed: Seed of order, augmentation and validation split. If not given, that of ``seed_everything``, or 0.
        augmentation_seed: Seed of the augmentation only, in place of ``seed``.
        split_seed: Seed of the validation split only, in place of ``seed``.

    Raises:
        ValueError: If an argument is out of its range, or the images do not give three splits with all classes.
    """

    native_size = 224

    def __init__(
        self,
        data_dir: str,
        image_size: int | None = None,
        batch_size: int = 32,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        group_by: str | None = None,
        num_folds: int | None = None,
        fold: int | None = None,
        manifest: str | None = None,
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
        super().__init__(
            data_dir,
            image_size,
            batch_size,
            val_fraction,
            crop_padding,
            flip,
            (os.cpu_count() or 1) if num_workers is None else num_workers,
            seed,
            augmentation_seed,
            split_seed,
            num_folds,
            fold,
        )
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction must be above 0 and below 1, got {test_fraction}")
        self.native_size = self.image_size  # files are decoded to the size that the network sees
        self.test_fraction = test_fraction
        self.group_by = group_by
        self.memory_gb = memory_gb
        self.cache_dir = Path(cache_dir).expanduser() if cache_dir else None
        self.hparams["cache_dir"] = str(cache_dir) if cache_dir else None
        self.on_bad_image = on_bad_image
        self._channels = channels
        self._pinned: Manifest | None = None
        if manifest is not None:
            self.hparams["manifest"] = str(manifest)
            self.pin(Path(manifest).expanduser())

    # What a subclass knows

    def _list(self) -> list[ListedImage]:
        """All images in order, with their classes."""
        raise NotImplementedError(f"{type(self).__name__} must implement _list()")

    def _classes_by_path(self) -> dict[str, str | None]:
        """The class of each image that is there, by path, without a check; None where nothing says it."""
        raise NotImplementedError(f"{type(self).__name__} must implement _classes_by_path()")

    # The manifest

    def pin(self, path: Path) -> None:
        """Uses the images and the splits of a manifest. Images that came later are left out.

        Raises:
            ValueError: If it cannot be read, or is not of files.
        """
        pinned = Manifest.read(path)
        if pinned is None:
            raise ValueError(f"{path} is the manifest of a dataset that is not made of files")
        self._pinned = pinned
        self.splits.clear()
        for name in ("manifest", "class_names", "channels", "_match", "_listed", "_facts", "_pool", "preprocessing"):
            self.__dict__.pop(name, None)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        checkpoint = self.trainer.ckpt_path if self.trainer is not None else None
        path = beside(checkpoint) if checkpoint and self._pinned is None else None
        pinned = Manifest.read(path) if path else None
        if path and pinned is not None and pinned.entries != self.manifest.entries:
            # Lightning restores the checkpoint after it has set up the data: they are set up again, with the run's splits.
            self.pin(path)
            self.setup(self.trainer.state.fn)
        super().load_state_dict(state_dict)

    @property
    def is_pinned(self) -> bool:
        return self._pinned is not None

    @property
    def is_other_data(self) -> bool:
        """Whether a manifest was given and none of its images is there: these are then images of another dataset."""
        return self._match is not None and self._match.is_other_data

    @cached_property
    def _match(self) -> Any:
        if self._pinned is None:
            return None
        classes = self._classes_by_path()
        facts = self._facts_of(list(classes))
        found = match(self._pinned, {path: (facts[path].digest, classes[path]) for path in facts})
        if found.new and not found.is_other_data:
            rank_zero_warn(f"{count(len(found.new), 'image')} added after the run began, left out: {first(found.new)}")
        return found

    @cached_property
    def manifest(self) -> Manifest:
        """The images with their classes and splits."""
        if self._match is not None and not self._match.is_other_data:
            return self._match.manifest
        return self._draw()

    def _check_pinned(self, *splits: Split) -> None:
        """Raises a ValueError if images of the run that are needed have changed or are missing; warns of others."""
        if self._match is None or self.is_other_data:
            return
        others = tuple(split for split in SPLITS if split not in splits)
        if problem := self._match.problem(*others):
            rank_zero_warn(problem)
        problem = self._match.problem(*splits)
        if problem is None:
            return
        if "test" not in splits and self.trainer is not None and self.trainer.state.fn == "fit":
            raise ValueError(f"{problem}; put them back as they were, or start a new run")
        if self.on_bad_image == "error":
            raise ValueError(f"{problem}; put them back as they were, or leave them out with --data.on_bad_image skip")
        rank_zero_warn(f"{problem}; they are left out")
        self.__dict__["manifest"] = self._match.without_lost(*splits)

    def _facts_of(self, paths: list[str]) -> dict[str, FileFacts]:
        skip = self.on_bad_image == "skip"
        facts = FileIndex(self.data_dir, self.cache_dir).facts(paths, decode=skip)
        bad = [path for path, known in facts.items() if known.problem]
        if skip and bad:
            rank_zero_warn(f"{len(bad):,} of {len(facts):,} files cannot be decoded and are left out: {first(bad)}")
        return {path: known for path, known in facts.items() if not (skip and known.problem)}

    @cached_property
    def _listed(self) -> list[ListedImage]:
        return self._list() if self.group_by is None else group_images(self._list(), self.group_by)

    @cached_property
    def _facts(self) -> dict[str, FileFacts]:
        return self._facts_of([image.path for image in self._listed])

    def _draw(self) -> Manifest:
        """The manifest of all listed images; splits that are not given by hand are drawn."""
        images = [image for image in self._listed if image.path in self._facts]
        has_own_val = any(image.split == "val" for image in images)
        if has_own_val and self.num_folds is not None:
            raise ValueError("num_folds draws the validation images, but there is a validation set: remove one of the two")
        drawing = Drawing(
            None if self._has_own_test else self.test_fraction,
            None if has_own_val else self.val_fraction,
            self.split_seed,
            self.num_folds,
            self.fold or 0,
        )
        channels = self._channels or channels_of(images, self._facts, self.data_dir)
        return Manifest(self.name, classes_of(images), channels, draw_entries(images, self._facts, drawing))

    @property
    def _has_own_test(self) -> bool:
        return any(image.split == "test" for image in self._listed)

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        if self._pinned is not None and not self.is_other_data:
            return self._pinned.class_names
        return classes_of(self._listed)

    @cached_property
    def channels(self) -> int:  # type: ignore[override]
        return self._channels or self.manifest.channels

    @property
    def digest(self) -> str:
        return self.manifest.digest("train", "val")

    @property
    def test_digest(self) -> str:
        return self.manifest.digest("test")

    def counts(self) -> dict[Split, list[int]]:
        return self.manifest.counts()

    def write_manifest(self, path: Path) -> None:
        self.manifest.write(path)

    def _split_arguments(self) -> dict[str, Any]:
        return super()._split_arguments() | {"test_fraction": self.test_fraction, "group_by": self.group_by}

    # Pixels

    def prepare_data(self) -> None:
        # With several processes, the first decodes into the cache while the others wait; then they read it from there.
        trainer = self.trainer
        if trainer and trainer.world_size > 1 and self.cache_dir:
            self.read("test" if trainer.state.fn == "test" else "train")

    def files(self, split: Split) -> FileImages:
        """The files of a split, not decoded."""
        self._check_pinned(split)
        return self._files_of(self.manifest.of(split))

    def _files_of(self, entries: list[Entry]) -> FileImages:
        label = {name: number for number, name in enumerate(self.manifest.class_names)}
        root = str(self.data_dir)
        paths = [os.path.join(root, entry.path) for entry in entries]  # noqa: PTH118 - many times as fast as Path
        labels = torch.tensor([label[entry.class_name] for entry in entries], dtype=torch.long)
        return FileImages(paths, labels, self.image_size, self.channels, [entry.digest for entry in entries])

    def _with_digest(self, split: Split) -> Images:
        return self.read(split)  # the manifest has the digest

    def _set_up_training_splits(self) -> None:
        if "train" not in self.splits:
            for leak in self.manifest.leaks():
                rank_zero_warn(leak)
        super()._set_up_training_splits()

    def read(self, split: Split) -> ArrayImages | FileImages | Subset:
        if split == "test":
            self._check_pinned("test")
            return self._decoded("test", self._files_of(self.manifest.of("test")))
        entries, images = self._pool
        return Subset(images, torch.tensor([i for i, entry in enumerate(entries) if entry.split == split]))

    @cached_property
    def _pool(self) -> tuple[list[Entry], ArrayImages | FileImages]:
        """The training and validation images: decoded together, so that every seed and every fold uses the same file."""
        self._check_pinned("train", "val")
        entries = self.manifest.of("train", "val")
        return entries, self._decoded("train", self._files_of(entries))

    def _decoded(self, name: str, files: FileImages) -> ArrayImages | FileImages:
        # One file for each folder, split and shape: when the images change, the new file replaces the old one.
        place = f"{self.data_dir.resolve()} {self.name} {self.test_fraction}"
        digest = hashlib.blake2b(place.encode(errors="surrogateescape"), digest_size=6).hexdigest()
        name = f"{self.name}-{digest}-{name}-{self.image_size}x{self.channels}"
        return files.decoded(self.cache_dir, name, self.memory_gb * 1e9)
