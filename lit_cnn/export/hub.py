"""Weights as safetensors with ``config.json``, as the Hugging Face Hub has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lit_cnn import models
from lit_cnn.data.earlier_reading import trained_reading
from lit_cnn.data.preprocess import Preprocessing
from lit_cnn.export.forms import CONFIG, WEIGHTS
from lit_cnn.inference.trained import Trained
from lit_cnn.system.json_files import read_object


def write_hub_files(trained: Trained, folder: Path) -> None:
    """Writes ``model.safetensors`` and ``config.json``, from which :func:`load_hub_files` makes the network again.

    Args:
        trained: The network of a run.
        folder: An existing folder.
    """
    from safetensors.torch import save

    # Standard strides: channels last would be written in that order.
    weights = {name: value.detach().cpu().contiguous() for name, value in trained.network.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(weights, metadata={"format": "pt"}))  # with the usual permissions
    (folder / CONFIG).write_text(json.dumps(describe_network(trained), indent=2) + "\n", encoding="utf-8")


def describe_network(trained: Trained) -> dict[str, Any]:
    """The content of ``config.json``."""
    classifier, preprocessing = trained.classifier, trained.preprocessing
    numbered = {str(number): name for number, name in enumerate(trained.class_names)}
    return {
        "model_type": "lit_cnn",
        "architectures": [type(trained.network).__name__],
        "variant": classifier.hparams["variant"],
        "num_labels": len(trained.class_names),
        "num_channels": trained.channels,
        "image_size": preprocessing.image_size,
        "id2label": numbered,
        "label2id": {name: int(number) for number, name in numbered.items()},
        "dataset": trained.dataset,
        "preprocessing": {
            "mean": preprocessing.mean,
            "std": preprocessing.std,
            "resize_size": preprocessing.resize_size,
            "native_size": trained.native_size,
            **trained.reading.options,
        },
        "hyper_parameters": {**classifier.hparams, "weights": None},
    }


def load_hub_files(folder: str | Path) -> Trained:
    """The network that :func:`write_hub_files` wrote, on the processor. Runs no code from the files.

    Args:
        folder: With ``model.safetensors`` and ``config.json``.

    Raises:
        ValueError: If a file is damaged, or the network is unknown; names it.
        OSError: If a file is missing.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    config = read_object(folder / CONFIG)
    try:
        classifier = models.lightning_module_of(config["variant"])(**config["hyper_parameters"])
        classifier.network.load_state_dict(load_file(folder / WEIGHTS))
        how = config["preprocessing"]
        resize_size, native_size = how.pop("resize_size"), how.pop("native_size")
        size, mean, std = config["image_size"], tuple(how.pop("mean")), tuple(how.pop("std"))
        names = tuple(config["id2label"][str(number)] for number in range(config["num_labels"]))
        reading = trained_reading(native_size, config["num_channels"], {"reading": how})
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{folder} holds no network of lit_cnn ({' '.join(str(error).split())[:200]})") from error
    preprocessing = Preprocessing(size, mean, std, resize_size)
    return Trained(classifier.eval(), preprocessing, names, reading, config["dataset"], str(folder / WEIGHTS))
