"""The one LightningDataModule behind every dataset."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.data.arguments import Balance, check_arguments
from lit_cnn.data.augment import Augment, Augmentation, Crop, Preset
from lit_cnn.data.frame import resize_size_of
from lit_cnn.data.loader import Batch, Images, Loader
from lit_cnn.data.manifest import describe_unevaluated, description
from lit_cnn.data.preprocess import Preprocessing, measure
from lit_cnn.data.splits import (
    FRACTION,
    Split,
    Subset,
    check_same_classes,
    check_same_division,
    digest_of_images,
    on_device,
    room_for_images,
    stratified_fold,
    stratified_split,
)
from lit_cnn.errors import DataWarning
from lit_cnn.system.paths import expand


class ImageDataModule(pl.LightningDataModule, ABC):
    """Splits, loads and transforms a dataset of labelled images.

    The training images are divided into training and validation images, stratified by class and seeded. Only
    ``Trainer.test`` reads the test images. ``Trainer.predict`` gets the validation images.

    Images in memory are moved to the GPU as uint8, if it has room. Other images are moved as uint8, batch by batch.
    Augmentation, resizing and normalisation run on the device, on the whole batch. A subclass implements :meth:`read`.

    Args:
        data_dir: Folder of the dataset's files; None for a dataset that reads none.
        image_size: Height and width that the network sees, in pixels; the dataset's own if not given.
        batch_size: Images in a training step, over all devices together.
        val_fraction: Share of the training images that becomes the validation set.
        augment: Random changes of training images: a preset, or :class:`lit_cnn.data.augment.Augment` with its parts.
        crop_padding: Training shifts an image by up to this many pixels, at the dataset's own size; if not given, as
            ``augment``.
        flip: Whether training mirrors an image with probability one half; if not given, as ``augment``.
        num_workers: Threads that prepare batches in advance.
        seed: Seed of order, augmentation and validation split. If not given, that of ``seed_everything``, or 0.
        augmentation_seed: Seed of the augmentation only, in place of ``seed``.
        split_seed: Seed of the validation split only, in place of ``seed``.
        num_folds: Divides the training images into so many folds, one of which is the validation set, in place of
            ``val_fraction``.
        fold: Number of that fold, from 0.
        balance: What makes rare classes count more in training: ``weights`` in the loss, or a ``sampler`` that draws each
            epoch with replacement, every class equally likely.

    Raises:
        ValueError: If an argument is out of its range, or ``data_dir`` is given to a dataset that reads no files.
    """

    name: str
    # What a preset of ``augment`` may do to the images.
    crop: Crop = "shift"
    mirrors: bool = True
    # Where the images come from in a dataset that reads no files, for the error about a ``data_dir``; else None.
    source_without_files: str | None = None
    class_names: tuple[str, ...]
    channels: int
    native_size: int
    frame: float = 1.0  # images are stored so many times as large as the network sees their centre
    # Of each channel over the training images, on a scale of 0 to 1; None to measure them.
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __init__(
        self,
        data_dir: str | None = None,
        image_size: int | None = None,
        batch_size: int = 128,
        val_fraction: float = FRACTION,
        augment: Preset | Augment = "none",
        crop_padding: int | None = None,
        flip: bool | None = None,
        num_workers: int = 0,
        seed: int | None = None,
        augmentation_seed: int | None = None,
        split_seed: int | None = None,
        num_folds: int | None = None,
        fold: int | None = None,
        balance: Balance = "none",
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        check_arguments(self.hparams, type(self).__name__, self.source_without_files)
        # Images that are cropped by area are stored at the size that the network sees.
        size = image_size if image_size and self.crop == "area" else self.native_size
        self.augmentation = Augmentation.of(Augment.of(augment), flip, crop_padding, self.crop, self.mirrors, size)
        self.data_dir = None if data_dir is None else expand(data_dir)
        # A checkpoint that holds a Path cannot be loaded with weights_only.
        self.hparams["data_dir"] = None if data_dir is None else str(data_dir)
        self.hparams["augment"] = Augment.of(augment).plain
        self.image_size = image_size or self.native_size
        self.batch_size = batch_size
        self.val_fraction = val_fraction
        self.num_workers = num_workers
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0")) if seed is None else seed
        self.augmentation_seed = self.seed if augmentation_seed is None else augmentation_seed
        self.split_seed = self.seed if split_seed is None else split_seed
        self.num_folds = num_folds
        self.fold = fold
        self.balance = balance
        self.splits: dict[Split, Images] = {}
        self._digests: dict[Split, str] = {}
        self._normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    @abstractmethod
    def read(self, split: Split) -> Images | None:
        """Images of a split; None for ``val`` if the validation images are to be taken from the training images."""

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """Resizing and normalisation, the same in training, evaluation and prediction."""
        mean, std = self._normalisation or (self.mean, self.std)
        if mean is None or std is None:
            # Asked for in an evaluation, images read here must still be usable outside inference mode.
            with torch.inference_mode(False):
                self._set_up_training_splits()
                mean, std = self.mean, self.std = measure(self.splits["train"])
        return Preprocessing(self.image_size, tuple(mean), tuple(std), resize_size_of(self.image_size, self.frame))

    def see_as(self, image_size: int, frame: float) -> None:
        """Shows images at the size, and within the frame, that a network was trained with."""
        self.image_size, self.frame = image_size, frame
        self.__dict__.pop("preprocessing", None)

    def normalise_with(self, normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None) -> None:
        """Sets the mean and standard deviation that images are normalised with; None for those of this dataset.

        Pretrained weights and checkpoints need the values of their own training.
        """
        self._normalisation = normalisation
        self.__dict__.pop("preprocessing", None)

    def setup(self, stage: str) -> None:
        """Reads the images of a stage: ``predict`` takes the validation images, see :meth:`predict_dataloader`."""
        if stage == "fit":
            self.augmentation.check(self.name, self.channels, self.num_classes, self.image_size, self.batch_size)
        if stage in ("fit", "validate", "predict"):
            self._set_up_training_splits()
        elif stage == "test" and "test" not in self.splits:
            (self.splits["test"],) = self._on_device(self._with_digest("test"))

    def _set_up_training_splits(self) -> None:
        if "train" in self.splits:
            return
        train, val = self._with_digest("train"), self.read("val")
        if val is None:
            first, second = (
                stratified_split(train.labels, self.val_fraction, self.split_seed)
                if self.num_folds is None
                else stratified_fold(train.labels, self.num_folds, self.fold or 0, self.split_seed)
            )
            train, val = Subset(train, first), Subset(train, second)
        self.splits["train"], self.splits["val"] = self._on_device(train, val)
        if text := describe_unevaluated(self.class_names, self.counts()):
            rank_zero_warn(text, category=DataWarning)

    def _with_digest(self, split: Split) -> Images:
        """The images of a split; notes their digest. The training images include those that become the validation set."""
        images = self.read(split)
        self._digests[split] = digest_of_images(images, self.class_names)
        return images

    def _on_device(self, *sets: Images) -> list[Images]:
        """Moves images in memory to the training device if it has room, so that batches are assembled there."""
        if self.trainer is None:
            return list(sets)
        device = self.trainer.strategy.root_device
        return on_device(sets, device, room_for_images(device))

    def set_up_for_run(self, manifest: Path) -> None:
        """Uses the images and the splits in the manifest of a run, if the dataset is made of files."""

    def check_images(self, stage: str) -> None:
        """Raises a ValueError if images that ``fit``, ``validate`` or ``test`` needs are not as they were in the run."""

    @property
    def num_test_images(self) -> int | None:
        """Number of all test images; None if it is not known before they are read."""
        return len(self.splits["test"].labels) if "test" in self.splits else None

    @property
    def is_pinned(self) -> bool:
        """Whether the images and their splits are those of a run's manifest."""
        return False

    @property
    def is_other_data(self) -> bool:
        """Whether a checkpoint's manifest was given and these are images of another dataset."""
        return False

    @property
    def digest(self) -> str:
        """Digest of the training and validation images with their labels."""
        with torch.inference_mode(False):
            self._set_up_training_splits()
        return self._digests["train"]

    @property
    def test_digest(self) -> str | None:
        """Digest of the test images with their labels; None if it is not known before they are read."""
        return self._digests.get("test")

    def counts(self) -> dict[Split, list[int]]:
        """Images of each class in the splits that are known, by split."""
        return {split: images.labels.bincount(minlength=self.num_classes).tolist() for split, images in self.splits.items()}

    def write_manifest(self, path: Path) -> None:
        """Writes what the data are, as JSON: name, digest, classes, and number of images in each split."""
        content = description(self.name, self.digest, self.class_names, self.channels, self.counts())
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def train_dataloader(self) -> Loader:
        return self._loader("train")

    def val_dataloader(self) -> Loader:
        return self._loader("val")

    def test_dataloader(self) -> Loader:
        return self._loader("test")

    def predict_dataloader(self) -> Loader:
        """The validation images, in order: only ``Trainer.test`` reads the test images."""
        return self._loader("val")

    def _loader(self, split: Split) -> Loader:
        trainer = self.trainer
        progress = trainer.fit_loop.epoch_loop.batch_progress.current if trainer and split == "train" else None
        return Loader(
            self.splits[split],
            self.batch_size,
            # overfit_batches needs the same few batches in each epoch.
            shuffle=split == "train" and not (trainer and trainer.overfit_batches),
            seed=self.seed,
            augmentation_seed=self.augmentation_seed,
            augmentation=self.augmentation,
            epoch=lambda: trainer.current_epoch if trainer else 0,
            position=lambda: progress.ready if progress and trainer.training else 0,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            num_workers=self.num_workers,
            balance=self.balance == "sampler",
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if not isinstance(batch, Batch):
            return batch
        if batch.draws is None:
            return batch._replace(images=self.preprocessing(batch.images))
        images = self.augmentation.transform(batch.images, batch.draws, self.image_size, self.frame > 1)
        images = self.preprocessing.of_crops(images)
        images, targets = self.augmentation.finish(images, batch.labels, batch.draws, self.num_classes)
        return batch._replace(images=images, targets=targets)

    def state_dict(self) -> dict[str, Any]:
        """What prediction needs to preprocess an image as in training, and how the images were split."""
        mean, std = self.preprocessing.mean, self.preprocessing.std
        named = {"dataset": self.name, "digest": self.digest, "class_names": list(self.class_names)}
        shape = {"channels": self.channels, "native_size": self.native_size, "image_size": self.preprocessing.image_size}
        seen = {"mean": list(mean), "std": list(std), "flip": self.augmentation.flip}
        return {**named, **shape, **seen, "split": self._split_arguments()}

    def _split_arguments(self) -> dict[str, Any]:
        """The arguments that decide which images are in which split."""
        return {name: getattr(self, name) for name in ("split_seed", "val_fraction", "num_folds", "fold")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compares a checkpoint with this dataset, and normalises images as the checkpoint's were.

        Raises:
            ValueError: If the classes differ, or the checkpoint would be evaluated on images that it was trained on.
        """
        check_same_classes(self.name, self.class_names, state_dict["class_names"])
        testing = self.trainer is not None and self.trainer.state.fn == "test"
        if not self.is_other_data:
            check_same_division(self._split_arguments(), state_dict["split"], testing)
        self.normalise_with((tuple(state_dict["mean"]), tuple(state_dict["std"])))
