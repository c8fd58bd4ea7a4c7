"""A trained classifier read back from its checkpoint alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lit_cnn import models  # defines the architectures that a checkpoint can name
from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.runs.checkpoint_file import read_checkpoint
from lit_cnn.training.classifier import CHECKPOINT_KEY, LitClassifier


@dataclass(frozen=True)
class Trained:
    """A classifier and what it needs to see an image as it did in training.

    Args:
        classifier: In evaluation mode.
        preprocessing: From uint8 images of ``native_size`` to the network's input.
        class_names: Name of each output.
        channels: 1 for grey, 3 for colour.
        native_size: Height and width at which files are decoded, in pixels.
    """

    classifier: LitClassifier
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    channels: int
    native_size: int


def load_trained(path: str | Path) -> Trained:
    """Reads a checkpoint; runs no code from it.

    Args:
        path: A file written by ``lit-cnn fit`` or by a Trainer that fitted a ``LitClassifier`` on an ``ImageDataModule``.

    Raises:
        ValueError: If the file is missing, broken, of something else, or of an architecture that is not known here.
    """
    checkpoint = read_checkpoint(path)
    try:
        about, hyper_parameters = checkpoint[CHECKPOINT_KEY], checkpoint["hyper_parameters"]
        data = checkpoint[about["data_key"]]
    except KeyError as error:
        raise ValueError(f"{path} is not a checkpoint of lit_cnn: it has no {error}") from error
    kinds = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in _subclasses(LitClassifier)}
    if about["class_path"] not in kinds:
        raise ValueError(f"{path} holds a {about['class_path']}, but the architectures here are {', '.join(sorted(kinds))}")
    classifier = kinds[about["class_path"]](**{**hyper_parameters, "weights": None})
    classifier.on_load_checkpoint(checkpoint)
    classifier.load_state_dict(checkpoint["state_dict"])
    return Trained(
        classifier.eval(),
        Preprocessing(data["image_size"], tuple(data["mean"]), tuple(data["std"])),
        tuple(data["class_names"]),
        data["channels"],
        data["native_size"],
    )


def load_pretrained(variant: str, weights: str = "DEFAULT") -> Trained:
    """One of torchvision's trained networks, with the preprocessing and the class names of its weights.

    Args:
        variant: A name of :func:`lit_cnn.models.list_variants` that torchvision knows too.
        weights: Name of the weights, for example ``IMAGENET1K_V1``; their best, if not given.

    Raises:
        ValueError: If there is no such network or no such weights, or they do not say all of this.
        OSError: If they cannot be downloaded; says where to put the file.
    """
    num_classes = models.describe(variant).num_classes
    classifier = models.lightning_module_of(variant)(num_classes, 3, variant=variant, weights=weights)
    about = classifier.pretrained
    if not (about.class_names and about.image_size and about.mean and about.std) or len(about.class_names) != num_classes:
        raise ValueError(f"{about.source} does not say what its classes and images are; a run does: predict with --run")
    preprocessing = Preprocessing(about.image_size, about.mean, about.std, about.resize_size)
    return Trained(classifier.eval(), preprocessing, about.class_names, 3, about.resize_size or about.image_size)


def _subclasses(kind: type) -> Iterator[type]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
