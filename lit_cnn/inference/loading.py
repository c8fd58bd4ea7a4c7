"""Reads trained networks: ``load_run("runs/…").predict("cat.jpg").class_name``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lit_cnn import models
from lit_cnn.data.earlier_reading import trained_reading
from lit_cnn.data.frame import resize_size_of
from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.data.reading import Reading
from lit_cnn.inference.rebuilt import rebuild
from lit_cnn.inference.trained import Trained
from lit_cnn.runs.checkpoint_file import read_checkpoint
from lit_cnn.runs.format import CHECKPOINT_KEY
from lit_cnn.runs.search import find_run
from lit_cnn.system.paths import expand
from lit_cnn.weights.shipped_file import find_shipped, read_safetensors


def load_run(path: str | Path, checkpoint: str | None = None, device: str | torch.device | None = None) -> Trained:
    """Reads a trained network; runs no code from its checkpoint.

    >>> run = load_run("runs/photos/resnet18/20260101-120000-1a2b")  # doctest: +SKIP
    >>> run.predict("cat.jpg").class_name  # doctest: +SKIP
    'cat'

    Args:
        path: A run's folder, its ``config.yaml``, ``latest``, or a checkpoint file. Checkpoints of ``lit-cnn fit`` and of a
            Trainer that fits a ``LitClassifier`` on an ``ImageDataModule`` can be read.
        checkpoint: ``best`` or ``last`` of a run; the best if not given. A run that never validated has only a last one.
        device: Where the network computes; on the fastest device if not given.

    Raises:
        ValueError: If the folder is no run; if the checkpoint is missing, damaged, or of an unknown architecture.
    """
    path = path if "://" in str(path) else expand(path)  # an address is refused below
    if checkpoint not in (None, "best", "last"):
        raise ValueError(f"checkpoint must be best or last, got {checkpoint!r}")
    if _is_checkpoint(path):
        if checkpoint:
            raise ValueError(f"checkpoint={checkpoint!r} is of a run's folder, but {path} is a checkpoint already")
    else:
        run = find_run(path)
        path = run.last if checkpoint == "last" else run.checkpoint or run.best
    return _read(path).to(device or _fastest_device())


def load_pretrained(variant: str, weights: str = "DEFAULT", device: str | torch.device | None = None) -> Trained:
    """Reads a network with published weights, with their preprocessing and their class names.

    Args:
        variant: A name of :func:`lit_cnn.models.list_variants`.
        weights: Name of weights that come with the package, for example ``FASHION_MNIST``, or of torchvision's, for example
            ``IMAGENET1K_V1``; torchvision's best if not given.
        device: Where the network computes; on the fastest device if not given.

    Raises:
        ValueError: If there is no such network or no such weights, if their classes or images are not known, or if they are
            of a run.
        OSError: If they cannot be downloaded; says where to put the file.
    """
    variant = models.find_variant(variant)
    if shipped := find_shipped(weights, variant):
        trained = _trained(read_safetensors(shipped), shipped)
        return replace(trained, source=f"{variant} {weights}").to(device or _fastest_device())
    num_classes = models.describe(variant).num_classes
    classifier = models.lightning_module_of(variant)(num_classes, 3, variant=variant, weights=weights)
    origin = classifier.pretrained
    if origin.made_by:  # its Reading may pad, frame, or have another background
        raise ValueError(f"{origin.source} would lose its way of reading images; predict with a run instead")
    known = origin.class_names and origin.image_size and origin.mean and origin.std
    if not known or len(origin.class_names) != num_classes:
        raise ValueError(f"the classes and the image size of {origin.source} are not known; predict with a run instead")
    preprocessing = Preprocessing(origin.image_size, origin.mean, origin.std, origin.resize_size)
    native_size = origin.resize_size or origin.image_size
    trained = Trained(classifier.eval(), preprocessing, origin.class_names, Reading(native_size, 3), None, origin.source)
    return trained.to(device or _fastest_device())


def _is_checkpoint(path: str | Path) -> bool:
    """Whether a path means a checkpoint file, not a run; also where there is no such file."""
    if Path(path).is_file():
        return Path(path).name != "config.yaml"
    return Path(path).suffix == ".ckpt" and not Path(path).is_dir()


def _read(path: str | Path) -> Trained:
    """What a checkpoint file holds, on the processor."""
    return _trained(read_checkpoint(path), path)


def _trained(checkpoint: dict[str, Any], path: str | Path) -> Trained:
    if CHECKPOINT_KEY not in checkpoint:
        raise ValueError(f"{path} is not a checkpoint of lit_cnn: it does not say which network it holds")
    data = checkpoint.get(checkpoint[CHECKPOINT_KEY]["data_key"], {})
    if missing := {"image_size", "mean", "std", "class_names", "channels", "native_size", "dataset"} - data.keys():
        raise ValueError(
            f"{path} was not trained on an ImageDataModule: it does not say its {min(missing)}, which a prediction needs"
        )
    size = data["image_size"]
    return Trained(
        rebuild(checkpoint, path),
        Preprocessing(size, tuple(data["mean"]), tuple(data["std"]), resize_size_of(size, data.get("frame", 1.0))),
        tuple(data["class_names"]),
        trained_reading(data["native_size"], data["channels"], data),
        data["dataset"],
        str(path),
        data.get("flip", checkpoint.get("datamodule_hyper_parameters", {}).get("flip")),
    )


def _fastest_device() -> torch.device:
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
