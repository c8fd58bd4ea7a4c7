"""Weights from elsewhere: torchvision's, a file's, an earlier run's."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_cnn.network.names import nearest
from lit_cnn.runs.folder import Run
from lit_cnn.runs.format import CHECKPOINT_KEY, check_format

StateDict = dict[str, Tensor]
# What training wrappers put in front of a name.
PREFIXES = ("module.", "_orig_mod.", "network.")


@dataclass(frozen=True)
class Weights:
    """A network's weights and what belongs to them; None where that is not known.

    Args:
        source: Where they come from, for people.
        state_dict: Tensors by name.
        mean: Of each channel of the images that they were trained on, on a scale of 0 to 1.
        std: Standard deviation, same scale.
        image_size: Height and width of those images, in pixels.
        resize_size: Height and width from whose centre these were cut.
        class_names: Name of each output.
        made_by: Class path and arguments of the LightningModule that they were trained in.
        remarks: What was changed to make them fit a network.
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

    def __str__(self) -> str:
        return "; ".join((f"weights of {self.source}", *self.remarks))


def find_weights(name: str | Path, variant: str | None = None) -> Weights:
    """Reads weights; runs no code from them.

    Args:
        name: A name of torchvision's for the variant (``IMAGENET1K_V1``, ``ResNet50_Weights.DEFAULT``), the path of a
            ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file, or a run's folder.
        variant: The network's, for torchvision's names.

    Raises:
        ValueError: If there are no such weights, or the file holds none; offers the nearest name.
        OSError: If torchvision's weights cannot be downloaded; says where to put the file.
    """
    name = str(name)
    if not name or "://" in name:
        raise ValueError(f"weights must be a file, a run's folder or a name of torchvision's, got {name!r}")
    path = Path(name).expanduser()
    if path.is_dir():
        run = Run.open(path)
        if run.checkpoint is None:
            raise ValueError(f"the run {name} has no checkpoint in {run.checkpoints} yet")
        return replace(_read(run.checkpoint), source=f"the run {name}")
    if path.is_file():
        published = _published_as(path.name, variant)
        return replace(published, state_dict=_read(path).state_dict) if published else _read(path)
    if path.suffix in (".pt", ".pth", ".ckpt", ".safetensors") or len(path.parts) > 1:
        raise ValueError(f"weights: there is no file or run folder {name}")
    return _of_torchvision(name, variant)


def _read(path: Path) -> Weights:
    try:
        if path.suffix == ".safetensors":
            content = _read_safetensors(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
        about = content.get(CHECKPOINT_KEY)
        if about:
            check_format(about, path)
        data = content.get(about["data_key"], {}) if about else {}
        state_dict = next((content[key] for key in ("state_dict", "model") if isinstance(content.get(key), dict)), content)
        if about:  # beside the network, a checkpoint may hold what only training needs
            state_dict = {name: tensor for name, tensor in state_dict.items() if name.startswith("network.")}
        state_dict = {_without_prefixes(name): tensor for name, tensor in state_dict.items()}
        if not state_dict or not all(isinstance(tensor, Tensor) for tensor in state_dict.values()):
            raise TypeError("no tensors by name")
        made_by = (about["class_path"], content["hyper_parameters"]) if about else None
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors by name, or is no file of torch's: nothing of it is run"
        ) from error
    except (RuntimeError, EOFError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path} holds no weights that can be read ({type(error).__name__}: {reason})") from error
    known = {key: tuple(data[key]) for key in ("mean", "std", "class_names") if key in data}
    return Weights(str(path), state_dict, image_size=data.get("image_size"), made_by=made_by, **known)


def _read_safetensors(path: Path) -> StateDict:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ValueError(f"{path} needs the package safetensors: pip install safetensors") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from error


def _without_prefixes(name: str) -> str:
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def _of_torchvision(name: str, variant: str | None) -> Weights:
    from torchvision.models import get_model_weights, list_models

    if variant not in list_models():
        raise ValueError(f"torchvision has no weights of {variant or 'this network'}, and {name!r} is no file and no run")
    enum = get_model_weights(variant)
    choices = dict(enum.__members__)
    found = choices.get(name.removeprefix(f"{enum.__name__}."))
    if found is None:
        raise ValueError(f"weights {name!r} are not torchvision's of {variant}; {nearest(name.rpartition('.')[2], choices)}")
    file = Path(torch.hub.get_dir(), "checkpoints", Path(found.url).name)
    try:
        state_dict = found.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except OSError as error:
        raise OSError(f"cannot download {found.url} ({error}): put the file at {file}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{file} is not the file that torchvision published ({error}): remove it") from error
    return replace(_about(found, variant), state_dict=state_dict)


def _published_as(file_name: str, variant: str | None) -> Weights | None:
    """What torchvision says of the file of that name; None if it published none for the variant."""
    from torchvision.models import get_model_weights, list_models

    members = get_model_weights(variant) if variant in list_models() else ()
    return next((_about(member, variant) for member in members if Path(member.url).name == file_name), None)


def _about(found: Any, variant: str | None) -> Weights:
    """What torchvision says of its weights, without their tensors."""
    transforms = found.transforms()
    mean, std = tuple(transforms.mean), tuple(transforms.std)
    if variant == "googlenet":
        # These weights want -1 to 1; torchvision's network turns its own normalisation into that.
        mean = std = (0.5, 0.5, 0.5)
    return Weights(
        str(found),
        {},
        mean=mean,
        std=std,
        image_size=transforms.crop_size[0],
        resize_size=transforms.resize_size[0],
        class_names=tuple(found.meta["categories"] or ()) or None,
    )
