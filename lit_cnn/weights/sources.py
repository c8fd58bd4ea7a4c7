"""Weights from the package, from torchvision, from files and from runs."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_cnn.network.names import nearest
from lit_cnn.runs.checkpoint_file import read_checkpoint
from lit_cnn.runs.format import CHECKPOINT_KEY
from lit_cnn.runs.search import find_run
from lit_cnn.system.paths import expand
from lit_cnn.weights.shipped_file import find_shipped, list_shipped, read_safetensors

StateDict = dict[str, Tensor]
# Prefixes of names that wrappers add in training.
PREFIXES = ("module.", "_orig_mod.", "network.")
# Endings of files with weights.
SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class Weights:
    """Weights of a network and facts about their training; None for unknown ones.

    Args:
        source: Where the weights come from, for messages.
        state_dict: Tensors by name.
        mean: Mean of each channel of the training images, on a scale of 0 to 1.
        std: Standard deviation of each channel, same scale.
        image_size: Height and width of those images, in pixels.
        resize_size: Height and width of the images before the centre was cropped.
        class_names: Name of each output.
        made_by: Class path and arguments of the LightningModule that was trained.
        remarks: Changes made to fit the weights into a network.
        file: The file that they were read from; None for torchvision's.
        data: What a checkpoint holds of the data that it was trained on.
    """

    source: str
    state_dict: StateDict
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: int | None = None
    resize_size: int | None = None
    class_names: tuple[str, ...] | None = None
    made_by: tuple[str, dict[str, Any]] | None = None
    remarks: tuple[str, ...] = ()
    file: Path | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def arguments_of(self, cls: type) -> dict[str, Any]:
        """The arguments of the LightningModule that was trained, if it is of this class; else none."""
        class_path, arguments = self.made_by or ("", {})
        return arguments if class_path == f"{cls.__module__}.{cls.__qualname__}" else {}

    def __str__(self) -> str:
        return "; ".join((f"weights of {self.source}", *self.remarks))


def find_weights(name: str | Path, variant: str | None = None) -> Weights:
    """Reads weights, without running code from their file.

    Args:
        name: Name of weights that come with the package (``FASHION_MNIST``) or of torchvision's (``IMAGENET1K_V1``,
            ``ResNet50_Weights.DEFAULT``), the path of a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file, or the
            folder of a run. A folder that is called like weights of the package is named with its path,
            ``./FASHION_MNIST``.
        variant: The variant of the network, needed for names.

    Raises:
        ValueError: If the weights do not exist or the file contains none; suggests similar names.
        OSError: If torchvision's weights cannot be downloaded; says where to put the file.
    """
    name = str(name)
    if not name or "://" in name:
        raise ValueError(f"weights must be a file, a run's folder or a name of published weights, got {name!r}")
    if shipped := find_shipped(name, variant):
        return replace(_read(shipped), source=f"{variant} {name}")
    path = expand(name)
    if path.is_dir() or name == "latest":
        run = find_run(name)
        if run.checkpoint is None:
            raise ValueError(f"the run {name} has no checkpoint in {run.checkpoints} yet")
        return replace(_read(run.checkpoint), source=f"the run {name}")
    if path.is_file():
        published = _published_as(path.name, variant)
        return replace(published, state_dict=_read(path).state_dict) if published else _read(path)
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        raise ValueError(f"weights: there is no file or run folder {name}")
    return _of_torchvision(name, variant)


def is_published(name: str, variant: str | None = None) -> bool:
    """Whether weights are torchvision's, by name or as a file, and so of ImageNet; takes other words as for those of a user.

    Those of the package are not: they are of the datasets that a user may train on.

    Args:
        name: See :func:`find_weights`.
        variant: The variant of the network.
    """
    if find_shipped(name, variant):
        return False
    path = expand(name)
    if path.is_dir() or name == "latest":
        return False
    is_file = path.is_file() or path.suffix in SUFFIXES or len(path.parts) > 1
    return not is_file or _published_as(path.name, variant) is not None


def _read(path: Path) -> Weights:
    content = read_safetensors(path) if path.suffix == ".safetensors" else read_checkpoint(path)
    metadata = content.get(CHECKPOINT_KEY)
    data = content.get(metadata["data_key"], {}) if metadata else {}
    state_dict = next((content[key] for key in ("state_dict", "model") if isinstance(content.get(key), dict)), content)
    if metadata:  # a checkpoint also contains tensors that only training needs
        state_dict = {name: tensor for name, tensor in state_dict.items() if name.startswith("network.")}
    state_dict = {_without_prefixes(name): tensor for name, tensor in state_dict.items()}
    if not state_dict or not all(isinstance(tensor, Tensor) for tensor in state_dict.values()):
        raise ValueError(f"{path} contains no named tensors")
    made_by = (metadata["class_path"], content["hyper_parameters"]) if metadata else None
    known = {key: tuple(data[key]) for key in ("mean", "std", "class_names") if key in data}
    size = data.get("image_size")
    return Weights(str(path), state_dict, image_size=size, made_by=made_by, file=path, data=data, **known)


def _without_prefixes(name: str) -> str:
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def _of_torchvision(name: str, variant: str | None) -> Weights:
    from torchvision.models import get_model_weights, list_models

    shipped = list(list_shipped().get(variant or "", {}))
    network = variant or "this network"
    if others := [other for other, files in list_shipped().items() if name in files]:
        raise ValueError(f"weights {name!r} are of {' and '.join(others)}, not of {network}")
    if variant not in list_models():
        if shipped:
            problem = "name one" if name == "DEFAULT" else f"{name!r} is neither a file nor a run, nor one"
            raise ValueError(f"torchvision has no weights of {network}: {problem} of lit_cnn's; {_near(name, shipped)}")
        if name == "DEFAULT":  # what commands take where the user names no weights
            raise ValueError(f"torchvision has no weights of {network}: train it with lit-cnn fit, and name the run")
        raise ValueError(f"torchvision has no weights of {network}, and {name!r} is neither a file nor a run")
    enum = get_model_weights(variant)
    choices = dict(enum.__members__)
    member = choices.get(name.removeprefix(f"{enum.__name__}."))
    if member is None:
        near = _near(name.rpartition(".")[2], [*choices, *shipped])
        raise ValueError(f"weights {name!r} are not torchvision's of {variant}; {near}")
    file = Path(torch.hub.get_dir(), "checkpoints", Path(member.url).name)
    try:
        state_dict = member.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except OSError as error:
        raise OSError(f"cannot download {member.url} ({error}): put the file at {file}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{file} is not the file that torchvision published ({error}): delete it") from error
    return replace(_facts_of(member, variant), state_dict=state_dict)


def _near(name: str, names: list[str]) -> str:
    """Suggestions for a name, whose case may be another; all names if none is similar."""
    return nearest(name.upper(), names)


def _published_as(file_name: str, variant: str | None) -> Weights | None:
    """torchvision's facts about its weights in a file of that name; None if it published none for the variant."""
    from torchvision.models import get_model_weights, list_models

    members = get_model_weights(variant) if variant in list_models() else ()
    return next((_facts_of(member, variant) for member in members if Path(member.url).name == file_name), None)


def _facts_of(member: Any, variant: str | None) -> Weights:
    """torchvision's facts about its weights, without their tensors."""
    transforms = member.transforms()
    mean, std = tuple(transforms.mean), tuple(transforms.std)
    if variant == "googlenet":
        # These weights need images from -1 to 1. torchvision's network converts its usual normalisation to that.
        mean = std = (0.5, 0.5, 0.5)
    return Weights(
        str(member),
        {},
        mean=mean,
        std=std,
        image_size=transforms.crop_size[0],
        resize_size=transforms.resize_size[0],
        class_names=tuple(member.meta["categories"] or ()) or None,
    )
