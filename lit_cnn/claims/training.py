"""Trains one cell of a study: an arm at a learning rate with a seed."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from lit_cnn import data as datasets
from lit_cnn import models
from lit_cnn.claims.network import LitBlockNet
from lit_cnn.data.loader import Images
from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.splits import ArrayImages, Split, stratified_split
from lit_cnn.errors import TrainingError
from lit_cnn.training.classifier import LitClassifier

# The images of a study are drawn once: its seeds change initialisation, order and augmentation.
SPLIT_SEED = 0


@dataclass(frozen=True, eq=False)
class Source:
    """The images of a study in memory, equal for all cells.

    Args:
        module: The data module that they come from.
        splits: Training, validation and test images.
    """

    module: ImageDataModule
    splits: Mapping[Split, ArrayImages]


class StudyData(ImageDataModule):
    """The images of a study as a data module.

    Args:
        source: The images.
        kwargs: Arguments of :class:`lit_cnn.data.module.ImageDataModule`.
    """

    def __init__(self, source: Source, **kwargs: Any) -> None:
        self.source = source
        module = source.module
        self.name, self.class_names, self.channels = module.name, tuple(module.class_names), module.channels
        self.native_size = source.splits["train"].pixels.shape[-1]
        self.mean, self.std = module.mean, module.std
        super().__init__(**kwargs)

    def read(self, split: Split) -> Images | None:
        return self.source.splits[split]

    def normalised(self, split: Split) -> tuple[Tensor, Tensor]:
        """All images of a split as the network sees them, (N, C, H, W) float32, and their labels (N,)."""
        images = self.source.splits[split]
        return self.preprocessing(images.pixels), images.labels


@dataclass(eq=False)
class History(pl.Callback):
    """Training loss and training error of each step."""

    def __post_init__(self) -> None:
        self.losses: list[float] = []
        self.errors: list[float] = []
        self.images = 0
        self.seconds = 0.0
        self._hits = self._total = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._hits = self._total = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        accuracy = pl_module.train_acc
        hits, total = int(accuracy.tp.sum()), int(accuracy.tp.sum() + accuracy.fn.sum())
        self.errors.append(1 - (hits - self._hits) / (total - self._total))
        self._hits, self._total = hits, total
        self.losses.append(float(outputs["loss"]))
        self.images += len(batch[1])

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds = time.perf_counter() - self._started


@dataclass(eq=False)
class Trained:
    """A cell after its training; what is measured.

    Args:
        model: The trained network.
        data: The images.
        history: Loss and error of each step.
        settings: Of the cell.
        seed: Of everything.
        diverged: Whether the loss became infinite; then the training ended there.
    """

    model: LitClassifier
    data: StudyData
    history: History
    settings: Mapping[str, Any]
    seed: int
    diverged: bool
    images: dict[Split, tuple[Tensor, Tensor]] = field(default_factory=dict)  # normalised, when they are first needed

    def at_start(self) -> LitClassifier:
        """The network as it was before the first step."""
        return make_model(self.settings, self.data, self.seed)


def train(settings: Mapping[str, Any], seed: int, data_dir: Path) -> Trained:
    """Trains a network with the Lightning Trainer, in float32 on the processor.

    Args:
        settings: Of the cell, see :meth:`lit_cnn.claims.study.Study.settings`.
        seed: Of initialisation, order and augmentation.
        data_dir: Where the files of the datasets are.

    Raises:
        ValueError: If the settings or the images cannot be used.
    """
    source = load(json.dumps(settings["data"], sort_keys=True), data_dir, *_sizes(settings))
    own = inspect.signature(ImageDataModule).parameters.keys() - {"data_dir"}
    arguments = {name: value for name, value in _arguments(settings["data"]).items() if name in own}
    data = StudyData(source, **{**arguments, "seed": seed})
    model, history = make_model(settings, data, seed), History()
    trainer_settings = {"max_epochs": 1, **settings["trainer"]}
    diverged = False
    with _quiet():
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            precision="32-true",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            callbacks=[history],
            **trainer_settings,
        )
        try:
            trainer.fit(model, datamodule=data)
        except TrainingError:
            diverged = True
    model.eval()
    return Trained(model, data, history, settings, seed, diverged)


def make_model(settings: Mapping[str, Any], data: ImageDataModule, seed: int) -> LitClassifier:
    """The network of a cell before its training; a seed gives the same weights each time.

    Raises:
        ValueError: If the class or an argument is unknown.
    """
    name = str(settings["model"].get("class_path", LitBlockNet.__name__)).rpartition(".")[2]
    cls = LitBlockNet if name == LitBlockNet.__name__ else getattr(models, name, None)
    if cls is None:
        raise ValueError(f"model.class_path: there is no {name}")
    with _quiet():
        pl.seed_everything(seed, verbose=False)
        shape = {"num_classes": data.num_classes, "in_channels": data.channels}
        if cls is LitBlockNet:
            shape["image_size"] = data.image_size
        return cls(**{**shape, **_arguments(settings["model"])})


@functools.lru_cache(maxsize=2)
def load(data: str, data_dir: Path, train: int | None, val: int, test: int | None) -> Source:
    """The images of a study; read once by each process.

    Args:
        data: Class and arguments of the data module, as JSON.
        data_dir: Where the files are.
        train: Number of training images, drawn evenly from the classes; None for all.
        val: Number of validation images, taken from the training images that are not used for training.
        test: Number of test images; None for all.

    Raises:
        ValueError: If the class is unknown, or there are too few images.
    """
    settings = json.loads(data)
    name = str(settings["class_path"]).rpartition(".")[2]
    cls = getattr(datasets, name, None)
    if cls is None:
        raise ValueError(f"data.class_path: there is no {name}")
    arguments = {key: value for key, value in _arguments(settings).items() if key in ("data_dir", "num_images", "image_size")}
    if cls.source_without_files is None:
        arguments["data_dir"] = str(data_dir / arguments.get("data_dir", "."))
    module = cls(**arguments)
    module.setup("fit")
    module.setup("test")
    # What a data module takes for validation may train here: a study draws its own images, the same for every seed.
    pools: list[ArrayImages] = [_in_memory(module.splits[split]) for split in ("train", "val", "test")]
    pixels, labels = (torch.cat([getattr(pool, part) for pool in pools[:2]]) for part in ("pixels", "labels"))
    rest, validation = stratified_split(labels, val / len(labels), SPLIT_SEED)
    training = rest if train is None else rest[stratified_split(labels[rest], train / len(rest), SPLIT_SEED)[1]]
    tested = torch.arange(len(pools[2].labels))
    if test is not None and test < len(tested):
        tested = stratified_split(pools[2].labels, test / len(tested), SPLIT_SEED)[1]
    splits: dict[Split, ArrayImages] = {
        "train": ArrayImages(pixels[training], labels[training]),
        "val": ArrayImages(pixels[validation], labels[validation]),
        "test": ArrayImages(pools[2].pixels[tested], pools[2].labels[tested]),
    }
    if module.mean is None:
        module.mean, module.std = module.preprocessing.mean, module.preprocessing.std
    return Source(module, splits)


def _in_memory(images: Images) -> ArrayImages:
    parts = torch.arange(len(images.labels)).split(1024)
    return ArrayImages(torch.cat([images.fetch(part) for part in parts]), images.labels)


def _arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(settings.get("init_args") or {})


def _sizes(settings: Mapping[str, Any]) -> tuple[int | None, int, int | None]:
    return settings["train_images"], settings["val_images"], settings["test_images"]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what Lightning reports of every Trainer: a study makes hundreds of them."""
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"The number of training batches \(\d+\) is smaller than the logging interval")
            warnings.filterwarnings("ignore", r"The '\w+_dataloader' does not have many workers")
            yield
    finally:
        logger.setLevel(level)
