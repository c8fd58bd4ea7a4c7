"""Weights that come with the package: one safetensors file for each, which holds all that is known of them.

Imports neither torch nor safetensors before a file is read: lists of names are made at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_cnn.runs.format import CHECKPOINT_KEY, check_format

if TYPE_CHECKING:
    from torch import Tensor

# Holds <variant>-<NAME>.safetensors and a card, <variant>-<NAME>.md, for each.
FOLDER = Path(__file__).parent / "shipped"
SUFFIX = ".safetensors"
# Keys in the facts of a file, beside those that a checkpoint has too.
DATA_KEY, TRAINING_KEY = "data", "training"


def list_shipped() -> dict[str, dict[str, Path]]:
    """The files, by variant and by the name of the weights."""
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(FOLDER.glob(f"*-*{SUFFIX}")):
        variant, _, name = path.stem.partition("-")
        files.setdefault(variant, {})[name] = path
    return files


def find_shipped(name: str, variant: str | None) -> Path | None:
    """The file of a variant's weights; None if there are none of that name."""
    return list_shipped().get(variant or "", {}).get(name)


def trained_arguments(path: Path) -> dict[str, Any]:
    """The arguments of the LightningModule that was trained, without its tensors being read."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()[CHECKPOINT_KEY])["hyper_parameters"]


def read_safetensors(path: Path) -> dict[str, Any]:
    """The content of a safetensors file: tensors by name, or what a checkpoint holds if :func:`write_shipped` wrote it.

    Raises:
        ValueError: If the file is damaged, or this version cannot read its format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error})") from error
    if CHECKPOINT_KEY not in metadata:
        return tensors
    try:
        facts = json.loads(metadata[CHECKPOINT_KEY])
        check_format(facts[CHECKPOINT_KEY], path)
        if not all(isinstance(facts[key], dict) for key in ("hyper_parameters", DATA_KEY, TRAINING_KEY)):
            raise TypeError("what must be names with values is not")
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: its facts cannot be read ({error})") from error
    return {**facts, "state_dict": {f"network.{name}": tensor for name, tensor in tensors.items()}}


def write_shipped(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Writes a file that :func:`read_safetensors` reads; equal arguments give equal bytes.

    Args:
        path: The file.
        tensors: The network's, by the names that they have in it.
        facts: As JSON: ``lit_cnn`` and ``hyper_parameters`` as a checkpoint has them, ``data`` for the state of the data
            module, ``training`` for what is known of the training.
    """
    from safetensors.torch import save

    # Standard strides: channels last would be written in that order. One key, since several would come in any order.
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(save(own, metadata={CHECKPOINT_KEY: json.dumps(facts, ensure_ascii=False)}))
