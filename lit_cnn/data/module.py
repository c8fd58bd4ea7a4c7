"""The one LightningDataModule behind every dataset."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from lit_cnn.data.augment import crop_and_flip
from lit_cnn.data.loader import Batch, Images, Loader
from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.data.splits import ArrayImages, Split, Subset, stratified_split


def room_for_images(device: torch.device) -> int:
    """Bytes that the images of a split may take on a device: a quarter of what is free on a GPU; none elsewhere."""
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else 0


def measure(images: Images, max_images: int = 10_000) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, on a scale of 0 to 1, over at most ``max_images`` spread evenly."""
    positions = torch.linspace(0, len(images.labels) - 1, min(len(images.labels), max_images)).long()
    total, squares, count = 0.0, 0.0, 0
    for part in positions.split(256):
        pixels = images.fetch(part).double().div_(255)
        total = total + pixels.sum((0, 2, 3))
        squares = squares + pixels.square().sum((0, 2, 3))
        count += pixels.numel() // pixels.shape[1]
    mean = total / count
    # A channel without contrast would divide by zero.
    std = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=1e-3)
    return tuple(mean.tolist()), tuple(std.tolist())


class ImageDataModule(pl.LightningDataModule):
    """Splits, loads and transforms a dataset of labelled images.

    The training images are divided once more, stratified and seeded, into those that train and those that validate. The
    test images are read by ``Trainer.test`` alone. Images that are held in memory lie on the GPU where there is room, as
    uint8; others travel as uint8, batch by batch. Augmentation, resizing and normalisation run on the device, on the whole
    batch.

    A subclass names its dataset and implements :meth:`read`.

    Args:
        data_dir: Folder of the dataset's files.
        image_size: Height and width that the network sees, in pixels; the dataset's own if not given.
        batch_size: Images in a training step, over all devices together.
        val_fraction: Share of the training images that validates.
        crop_padding: Pixels by which an image is shifted at most in training, at the dataset's own size; 0 for none.
        flip: Whether training mirrors every other image.
        num_workers: Threads that prepare batches ahead.
        seed: Of the order, the augmentation and the validation split; that of ``seed_everything`` if not given, else 0.
        augmentation_seed: Of the augmentation alone.
        split_seed: Of the validation split alone.

    Raises:
        ValueError: If an argument is out of its range.
    """

    name: str
    class_names: tuple[str, ...]
    channels: int
    native_size: int
    # Over the training images, on a scale of 0 to 1; None to measure them.
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __init__(
        self,
        data_dir: str = "data",
        image_size: int | None = None,
        batch_size: int = 128,
        val_fraction: float = 0.1,
        crop_padding: int = 0,
        flip: bool = False,
        num_workers: int = 0,
        seed: int | None = None,
        augmentation_seed: int | None = None,
        split_seed: int | None = None,
    ) -> None:
        super().__init__()
        for argument, value, least in (
            ("image_size", image_size, 1),
            ("batch_size", batch_size, 1),
            ("crop_padding", crop_padding, 0),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
            ("augmentation_seed", augmentation_seed, 0),
            ("split_seed", split_seed, 0),
        ):
            if value is not None and value < least:
                raise ValueError(f"{argument} must be at least {least}, got {value}")
        if not 0 < val_fraction < 1:
            raise ValueError(f"val_fraction must be above 0 and below 1, got {val_fraction}")
        self.save_hyperparameters(logger=False)
        self.hparams["data_dir"] = str(data_dir)  # a Path would keep a checkpoint from loading with weights_only
        self.data_dir = Path(data_dir)
        self.image_size = image_size or self.native_size
        self.batch_size = batch_size
        self.val_fraction = val_fraction
        self.crop_padding = crop_padding
        self.flip = flip
        self.num_workers = num_workers
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0")) if seed is None else seed
        self.augmentation_seed = self.seed if augmentation_seed is None else augmentation_seed
        self.split_seed = self.seed if split_seed is None else split_seed
        self.splits: dict[Split, Images] = {}
        self._normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def read(self, split: Split) -> Images | None:
        """Images of a split; None for a validation set that is to be carved from the training images."""
        raise NotImplementedError(f"{type(self).__name__} must implement read()")

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The transforms that training, evaluation and prediction share."""
        mean, std = self._normalisation or (self.mean, self.std)
        if mean is None or std is None:
            self._set_up_training_splits()
            mean, std = self.mean, self.std = measure(self.splits["train"])
        return Preprocessing(self.image_size, tuple(mean), tuple(std))

    def normalise_with(self, normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None) -> None:
        """Normalises by another mean and standard deviation, which a network's weights want; None for the images' own."""
        self._normalisation = normalisation
        self.__dict__.pop("preprocessing", None)

    def setup(self, stage: str) -> None:
        if stage in ("fit", "validate"):
            self._set_up_training_splits()
        elif stage == "test" and "test" not in self.splits:
            self.splits["test"] = self._on_device(self.read("test"))

    def _set_up_training_splits(self) -> None:
        if "train" in self.splits:
            return
        train, val = self._on_device(self.read("train")), self._on_device(self.read("val"))
        if val is None:
            kept, held_out = stratified_split(train.labels, self.val_fraction, self.split_seed)
            train, val = Subset(train, kept), Subset(train, held_out)
        self.splits["train"], self.splits["val"] = train, val

    def _on_device(self, images: Images | None) -> Images | None:
        """Puts images where they are trained on, if there is room: batches are then assembled there."""
        if isinstance(images, Subset):
            return Subset(self._on_device(images.images), images.index)
        if self.trainer is None or not isinstance(images, ArrayImages):
            return images
        device = self.trainer.strategy.root_device
        fits = images.pixels.nbytes <= room_for_images(device)
        return replace(images, pixels=images.pixels.to(device)) if fits else images

    def train_dataloader(self) -> Loader:
        return self._loader("train")

    def val_dataloader(self) -> Loader:
        return self._loader("val")

    def test_dataloader(self) -> Loader:
        return self._loader("test")

    def _loader(self, split: Split) -> Loader:
        trainer = self.trainer
        progress = trainer.fit_loop.epoch_loop.batch_progress.current if trainer and split == "train" else None
        return Loader(
            self.splits[split],
            self.batch_size,
            # The few batches that a user wants to overfit must be the same in each epoch.
            shuffle=split == "train" and not (trainer and trainer.overfit_batches),
            seed=self.seed,
            augmentation_seed=self.augmentation_seed,
            epoch=lambda: trainer.current_epoch if trainer else 0,
            position=lambda: progress.ready if progress and trainer.training else 0,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            num_workers=self.num_workers,
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if not isinstance(batch, Batch):
            return batch
        images = batch.images
        if batch.draws is not None and (self.crop_padding or self.flip):
            images = crop_and_flip(images, batch.draws, self.crop_padding, self.flip)
        return batch._replace(images=self.preprocessing(images))

    def state_dict(self) -> dict[str, Any]:
        """What prediction needs to treat an image as training did."""
        preprocessing = self.preprocessing
        return {
            "dataset": self.name,
            "class_names": list(self.class_names),
            "channels": self.channels,
            "native_size": self.native_size,
            "image_size": preprocessing.image_size,
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "split": self._split_arguments(),
        }

    def _split_arguments(self) -> dict[str, float]:
        """What decides which images train and which validate."""
        return {"split_seed": self.split_seed, "val_fraction": self.val_fraction}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        saved = tuple(state_dict["class_names"])
        if saved != tuple(self.class_names):
            raise ValueError(
                f"the checkpoint was trained on the classes {', '.join(saved)}, "
                f"but {self.name} has {', '.join(self.class_names)}"
            )
        # A test does not mind how training and validation images were told apart.
        testing = self.trainer is not None and self.trainer.state.fn == "test"
        before = state_dict["split"]
        before = {"split_seed": before.get("seed"), **before}  # as checkpoints named it once
        for name, value in self._split_arguments().items():
            if value != before[name] and not (testing and name in ("split_seed", "val_fraction")):
                raise ValueError(
                    f"the checkpoint was trained with data.{name}={before[name]}; with {value}, "
                    f"images that trained it would be used to judge it"
                )
