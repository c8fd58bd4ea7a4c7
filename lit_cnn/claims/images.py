"""The images of a study: drawn once, the same for all its cells."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_cnn import data as datasets
from lit_cnn.data.loader import Images
from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.splits import ArrayImages, Split, stratified_split
from lit_cnn.network.names import nearest

# The images of a study are drawn once: its seeds change initialisation, order and augmentation.
SPLIT_SEED = 0
# Arguments of a data module that decide which images there are and how they are read. Others belong to each arm.
READ_WITH = ("data_dir", "num_images", "image_size")


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

    def normalised(self, split: Split, limit: int | None = None) -> tuple[Tensor, Tensor]:
        """Images of a split, at most ``limit``, as the network sees them, (N, C, H, W) float32, and their labels (N,)."""
        images = self.source.splits[split]
        return self.preprocessing(images.pixels[:limit]), images.labels[:limit]


def make_data(settings: Mapping[str, Any], data_dir: Path, seed: int) -> StudyData:
    """The images of a cell, batched, augmented and normalised as its settings ask for.

    Args:
        settings: Of the cell, see :meth:`lit_cnn.claims.design.Study.settings`.
        data_dir: Where the files of the datasets are.
        seed: Of order and augmentation. It does not change which images there are.

    Raises:
        ValueError: If the class or an argument is unknown, there are no such files, or there are too few images.
    """
    arguments = dict(settings["data"].get("init_args") or {})
    name = str(settings["data"]["class_path"]).rpartition(".")[2]
    own = inspect.signature(ImageDataModule).parameters.keys() - {"data_dir", "seed"}
    if unknown := sorted(arguments.keys() - own - set(READ_WITH)):
        raise ValueError(f"data.{unknown[0]} is no argument of a study's images; {nearest(unknown[0], {*own, *READ_WITH})}")
    read_with = json.dumps({key: arguments[key] for key in READ_WITH if key in arguments}, sort_keys=True)
    sizes = (settings["train_images"], settings["val_images"], settings["test_images"])
    source = load(name, read_with, data_dir, *sizes)
    return StudyData(source, **{key: value for key, value in arguments.items() if key in own}, seed=seed)


@functools.lru_cache(maxsize=2)
def load(name: str, arguments: str, data_dir: Path, train: int | None, val: int, test: int | None) -> Source:
    """The images of a study; read once by each process.

    Args:
        name: Class of the data module.
        arguments: Those of its arguments that are in :data:`READ_WITH`, as JSON.
        data_dir: Where the files are.
        train: Number of training images, drawn evenly from the classes; None for all.
        val: Number of validation images, taken from the training images that are not used for training.
        test: Number of test images; None for all.

    Raises:
        ValueError: See :func:`make_data`.
    """
    cls = getattr(datasets, name, None)
    if not (isinstance(cls, type) and issubclass(cls, ImageDataModule)):
        raise ValueError(f"data.class_path: there is no {name}; {nearest(name, datasets.__all__)}")
    given = json.loads(arguments)
    if cls.source_without_files is None:
        given["data_dir"] = str(data_dir / given.get("data_dir", "."))
    module = cls(**given, seed=SPLIT_SEED)
    try:
        module.prepare_data()
        module.setup("fit")
        module.setup("test")
    except (OSError, ValueError) as error:
        raise ValueError(str(error).replace("--data.data_dir", "--data_dir")) from error
    # What a data module takes for validation may train here: a study draws its own images, the same for every seed.
    pools: list[ArrayImages] = [_in_memory(module.splits[split]) for split in ("train", "val", "test")]
    pixels, labels = (torch.cat([getattr(pool, part) for pool in pools[:2]]) for part in ("pixels", "labels"))
    if val + (train or 1) > len(labels):
        raise ValueError(
            f"{name} has {len(labels):,} images to train and to validate with, too few for train_images "
            f"{train or 'all'} and val_images {val}: set smaller numbers in the file of the claim"
        )
    rest, validation = stratified_split(labels, val / len(labels), SPLIT_SEED)
    training = rest
    if train is not None and train < len(rest):
        training = rest[stratified_split(labels[rest], train / len(rest), SPLIT_SEED)[1]]
    # A part of the training images has all classes, also where the files are sorted by class.
    training = training[torch.randperm(len(training), generator=torch.Generator().manual_seed(SPLIT_SEED))]
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
