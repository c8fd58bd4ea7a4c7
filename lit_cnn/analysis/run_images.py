"""The images behind the predictions of a run."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import torch
import yaml

from lit_cnn import data
from lit_cnn.data.contents import following_run
from lit_cnn.data.loader import Images
from lit_cnn.data.manifest import FILE_NAME
from lit_cnn.data.module import ImageDataModule
from lit_cnn.data.names import DATASETS, OWN_IMAGES
from lit_cnn.data.splits import Split
from lit_cnn.runs.folder import Run
from lit_cnn.runs.predictions import RunPredictions
from lit_cnn.system.paths import expand


def read_config(run: Run) -> dict[str, Any]:
    """The settings in a run's ``config.yaml``.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        config = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{run.config} cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(config, dict):
        raise ValueError(f"{run.config} holds no settings")
    return config


def images_of(run: Run, split: Split, predictions: RunPredictions) -> Images:
    """The images of a run's predictions, in the order of the split. Nothing is downloaded.

    Args:
        run: The run.
        split: ``val`` or ``test``.
        predictions: What was predicted for them.

    Raises:
        ValueError: If the images are not there, or are others now.
    """
    module = data_of_run(run)
    try:
        module.setup("test" if split == "test" else "validate")
    except (OSError, RuntimeError) as error:  # as torchvision names missing files
        raise ValueError(f"the images of {module.name} are not there ({' '.join(str(error).split())})") from error
    images = module.splits[split]
    if not _are_same(run, split, module, images, predictions):
        raise ValueError(f"{module.name} has other images now than those of the predictions")
    return images


def data_of_run(run: Run) -> ImageDataModule:
    """The data module of a run, as its configuration describes it; nothing is read yet.

    Raises:
        ValueError: If it is not made by a class of lit_cnn, or its arguments are wrong.
    """
    manifest = run.path / FILE_NAME
    with following_run(manifest if manifest.is_file() else None):
        return _data_of(run)


def data_of_fold(run: Run, number: int, fold: int) -> ImageDataModule:
    """The data module of the training of a fold of a run's images, as they are now; nothing is read yet.

    Args:
        run: The run.
        number: Number of folds.
        fold: Number of the fold, from 0.

    Raises:
        ValueError: See :func:`data_of_run`.
    """
    return _data_of(run, num_folds=number, fold=fold)


def _data_of(run: Run, **others: int) -> ImageDataModule:
    """The data module of a run, with some other arguments."""
    config = read_config(run)
    settings = config.get("data")
    class_path = str(settings.get("class_path")) if isinstance(settings, dict) else ""
    package, _, name = class_path.rpartition(".")
    if name not in DATASETS or package.partition(".")[0] != "lit_cnn":
        raise ValueError(f"the images are made by {class_path or 'no class'}, which is none of lit_cnn's in {run.config}")
    cls = getattr(data, name)
    own = settings.get("init_args") or {}
    if not isinstance(own, dict):
        raise ValueError(f"the data in {run.config} cannot be made (init_args are no settings by name)")
    arguments = {**own, **others}
    if arguments.get("seed") is None:
        arguments["seed"] = config.get("seed_everything") or 0  # as in training, where it is a variable of the process
    place = arguments.get("data_dir")
    if isinstance(place, str) and name in OWN_IMAGES and not expand(place).exists():
        raise ValueError(
            f"the images of {run.path} are not in {place}: start the command in the folder where the run was trained, and "
            f"put them back if they were moved"
        )
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ValueError(f"the data in {run.config} cannot be made ({error})") from error


def _are_same(run: Run, split: Split, module: ImageDataModule, images: Images, predictions: RunPredictions) -> bool:
    """Whether images are those that were predicted: the same content, in the same order."""
    known = predictions.digest
    if known is None and split == "test":
        known = run.read_results().get("test/digest")
    digest = module.test_digest if split == "test" else module.digest
    if known is not None and known != digest:
        return False
    names = [PurePath(images.name(position)).name for position in range(len(images.labels))]
    return torch.equal(images.labels.cpu(), torch.from_numpy(predictions.labels)) and names == [
        PurePath(name).name for name in predictions.images
    ]
