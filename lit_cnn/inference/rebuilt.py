"""The network of a checkpoint, made again from what the checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lit_cnn import models as models  # defines the architectures that a checkpoint can name
from lit_cnn.runs.format import CHECKPOINT_KEY
from lit_cnn.training.classifier import LitClassifier


def rebuild(checkpoint: dict[str, Any], path: str | Path) -> LitClassifier:
    """The LightningModule of a checkpoint with its weights, on the processor and in evaluation mode.

    Args:
        checkpoint: Content of the file.
        path: The file.

    Raises:
        ValueError: If its architecture is unknown; names those that are known.
    """
    classes = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in _subclasses(LitClassifier)}
    class_path = checkpoint[CHECKPOINT_KEY]["class_path"]
    if class_path not in classes:
        raise ValueError(f"{path} holds a {class_path}, but the known architectures are {', '.join(sorted(classes))}")
    classifier = classes[class_path](**{**checkpoint["hyper_parameters"], "weights": None})
    classifier.on_load_checkpoint(checkpoint)
    classifier.origin = replace(classifier.origin, path=str(path))
    classifier.load_state_dict(checkpoint["state_dict"])
    return classifier.eval()


def _subclasses(cls: type[LitClassifier]) -> Iterator[type[LitClassifier]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
