"""Whether weights and data belong to a network: said in one line, before torch lists every key."""

from __future__ import annotations

from functools import partial
from inspect import signature
from typing import Any, NoReturn

import pytorch_lightning as pl
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.network.sizes import describe_sizes, takes


def compare_class(classifier: pl.LightningModule, class_path: str) -> None:
    """Refuses the checkpoint of another class, whose network may compute otherwise with tensors of the same shapes.

    Raises:
        ValueError: If it is of another.
    """
    if class_path != _path_of(classifier):
        _refuse(classifier, class_path, f"which is {_path_of(classifier)}")


def _path_of(classifier: pl.LightningModule) -> str:
    kind = type(classifier)
    return f"{kind.__module__}.{kind.__qualname__}"


def compare_arguments(classifier: pl.LightningModule, class_path: str, arguments: dict[str, Any]) -> None:
    """Refuses weights that may fit by their shapes, but were trained in a network that computes something else.

    Args:
        classifier: What the weights are for.
        class_path: Of the LightningModule that they were trained in.
        arguments: Of that LightningModule.

    Raises:
        ValueError: If an argument differs that matters not in training alone.
    """
    if class_path != _path_of(classifier):
        return  # of another class, whose tensors will tell
    own = signature(type(classifier).__init__).parameters.keys() - {"num_classes", "in_channels", *classifier.training_only}
    for name in sorted(own & classifier.hparams.keys() & arguments.keys()):
        there, here = arguments[name], classifier.hparams[name]
        if there != here:
            _refuse(classifier, class_path, f"{name} is {there} there and {here} here")


def compare_tensors(classifier: pl.LightningModule, class_path: str, state_dict: dict[str, Any]) -> None:
    """Refuses tensors of other names or shapes.

    Raises:
        ValueError: At the first difference.
    """
    own = classifier.state_dict()
    for name in [*own, *state_dict]:
        if name not in own or name not in state_dict:
            _refuse(classifier, class_path, f"{name} is only {'there' if name in state_dict else 'here'}")
        there, here = tuple(state_dict[name].shape), tuple(own[name].shape)
        if there != here:
            _refuse(classifier, class_path, f"{name} is {there} there and {here} here")


def compare_with_data(classifier: pl.LightningModule, data: Any) -> None:
    """Refuses data that do not fit a network.

    Raises:
        ValueError: If channels, classes or image size do not fit; says what would.
    """
    name = type(classifier).__name__
    channels = getattr(data, "channels", classifier.in_channels)
    if channels != classifier.in_channels:
        raise ValueError(
            f"{name} takes {classifier.in_channels} channels, but the images of {data.name} have {channels}: "
            f"build it with in_channels={channels}"
        )
    num_classes = getattr(data, "num_classes", classifier.num_classes)
    if num_classes > classifier.num_classes:
        raise ValueError(
            f"{name} has {classifier.num_classes} outputs, but {data.name} has {num_classes} classes: "
            f"build it with num_classes={num_classes}"
        )
    names = classifier.pretrained.class_names if classifier.pretrained else None
    if names and tuple(getattr(data, "class_names", names)) != names:
        rank_zero_warn(
            f"the last layer is that of {classifier.pretrained.source}, whose {len(names)} classes "
            f"({', '.join(names[:3])}, …) are not those of {data.name}: it learns them anew"
        )
    size = getattr(data, "image_size", None)
    takes_size = partial(takes, classifier.network, classifier.in_channels)
    if size is not None and not takes_size(size):
        raise ValueError(
            f"{name} cannot take images of {size}×{size}; it takes {describe_sizes(takes_size)}: "
            f"set image_size (--data.image_size)"
        )


def _file_of(classifier: pl.LightningModule) -> str:
    """Where a Trainer reads them from, if one does."""
    trainer = getattr(classifier, "_trainer", None)
    return f" in {trainer.ckpt_path}" if trainer is not None and trainer.ckpt_path else ""


def _refuse(classifier: pl.LightningModule, class_path: str, what: str) -> NoReturn:
    hparams = classifier.hparams
    arguments = ", ".join(f"{key}={hparams[key]}" for key in ("variant", "num_classes", "in_channels") if key in hparams)
    raise ValueError(
        f"the weights{_file_of(classifier)} do not fit: "
        f"they are of {class_path}, not of this {type(classifier).__name__}({arguments}); {what}"
    )
