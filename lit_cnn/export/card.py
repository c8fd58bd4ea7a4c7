"""What lies beside an exported network: the classes, how files become pixels, and a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lit_cnn import models
from lit_cnn.analysis.facts import RunFacts
from lit_cnn.data.formats import FORMATS, SUFFIXES
from lit_cnn.data.reading import MAX_PIXELS
from lit_cnn.export.network import ExportedNetwork
from lit_cnn.inference.trained import Trained
from lit_cnn.network.counting import count_parameters
from lit_cnn.runs.folder import Run
from lit_cnn.training.class_scores import wilson

LABELS, PREPROCESS, CARD = "labels.txt", "preprocess.json", "README.md"
SCRIPT_COMMAND = "python predict_onnx.py --images FOLDER --output FILE.csv"
HEAD = ("| file | what it is | largest difference from the run | equal answers |", "| --- | --- | --- | --- |")
# What each form of a network is, by the name of its file.
FORMS = {
    "model.onnx": "ONNX, for ONNX Runtime and many others",
    "model_int8.onnx": "ONNX with weights and activations of 8 bits",
    "model.pt2": 'torch.export: `torch.export.load("model.pt2").module()`',
    "model_compiled.pt2": 'compiled for this kind of processor: `torch._inductor.aoti_load_package("model_compiled.pt2")`',
    "model.safetensors": "weights, with `config.json`: `lit_cnn.export.hub.load_hub_files(FOLDER)`",
    "model.xml": "OpenVINO, with `model.bin`",
}


def describe_preprocessing(trained: Trained, network: ExportedNetwork) -> dict[str, Any]:
    """The content of ``preprocess.json``: from a file to the input of the exported network."""
    return {
        "image_size": trained.native_size,
        "channels": trained.channels,
        **trained.reading.options,
        "max_pixels": MAX_PIXELS,
        "takes_any_size": network.reading is not None,
        "layout": network.layout,
        "dtype": network.dtype,
        "class_names": list(trained.class_names),
        "endings": list(SUFFIXES),
        "formats": list(FORMATS),
        "inside_the_network": {
            "mean": trained.preprocessing.mean,
            "std": trained.preprocessing.std,
            "image_size": trained.preprocessing.image_size,
            "softmax": True,
        },
    }


def write_labels(class_names: Sequence[str], path: Path) -> None:
    """Writes the name of each class in a line of its own."""
    lines = [name.replace("\n", " ") for name in class_names]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")


def write_card(run: Run, trained: Trained, network: ExportedNetwork, parity: Mapping[str, Any], path: Path) -> None:
    """Writes the model card: data, recipe, scores with intervals, limits, licence.

    Args:
        run: The run.
        trained: Its network.
        network: What was exported.
        parity: Content of ``parity.json``.
        path: The file.
    """
    facts = RunFacts.read(run)
    variant, num_classes = str(trained.classifier.hparams["variant"]), len(trained.class_names)
    header = {"library_name": "lit_cnn", "pipeline_tag": "image-classification", "license": "other", "tags": [variant]}
    settings = {name: facts.config[name] for name in ("seed_everything", "model", "data") if name in facts.config}
    images, forms = parity["images"], parity["forms"]
    sections = [
        f"# {variant} trained on {trained.dataset or 'images that are not known'}",
        f"{models.describe(variant).paper}. {count_parameters(trained.network):,} parameters, "
        f"{num_classes} classes: {_first(trained.class_names)}.",
        "## Use",
        f"{_input_of(trained, network)} Output: probabilities (N, {num_classes}), in the order of `{LABELS}`. "
        f"Normalisation is inside. `{PREPROCESS}` has how a file becomes such an image.",
        *([f"```bash\n{SCRIPT_COMMAND}\n```"] if "model.onnx" in forms else []),
        "\n".join([*HEAD, *(_row(name, of) for name, of in forms.items())]),
        f"Compared on {images['validation']} validation and {images['training']} training images.",
        "## Scores",
        "\n".join(_scores(facts)),
        "## Recipe",
        f"```yaml\n{yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)}```",
        "## Limits",
        "It knows its classes alone: an image of anything else gets one of them. Probabilities are those of the network, "
        "not calibrated. Images unlike the training images (other cameras, sizes, crops) are recognised less often.",
        "## Licence",
        "Weights follow the licence of the images that they were trained on: fill it in, here and in the header.",
    ]
    text = f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n" + "\n\n".join(sections) + "\n"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def _input_of(trained: Trained, network: ExportedNetwork) -> str:
    layout = "H, W, C" if network.layout == "nhwc" else "C, H, W"
    size = f"{trained.native_size}×{trained.native_size}" if network.reading is None else "of any size"
    colours = "grey" if trained.channels == 1 else "RGB"
    values = "0 to 255" if network.dtype == "uint8" else "0 to 1"
    return f"Input `images`: {network.dtype} (N, {layout}), {size}, {colours}, {values}."


def _row(name: str, of: Mapping[str, Any]) -> str:
    difference = of.get("max_difference")
    shown = "-" if difference is None else f"{difference:.1e}"
    return f"| `{name}` | {FORMS[name]} | {shown} | {of['equal_answers']:.2%} |"


def _scores(facts: RunFacts) -> list[str]:
    """Accuracy on validation and test images with Wilson's intervals."""
    lines = []
    numbers = facts.num_images
    for split, noun in (("val", "validation"), ("test", "test")):
        accuracy, number = facts.results.get(f"{split}/acc"), numbers.get(split)
        if accuracy is None:
            continue
        ends = ""
        if number:
            low, high = (float(end) for end in wilson(np.array(round(accuracy * number)), np.array(number)))
            ends = f" (95 % interval {low:.2%} to {high:.2%}, {number:,} images)"
        lines.append(f"- {noun} accuracy {accuracy:.2%}{ends}")
    lines.append(f"- looks at the test set: {facts.looks}" if facts.is_tested else "- the test set was not looked at")
    return lines


def _first(names: Sequence[str], number: int = 10) -> str:
    shown = ", ".join(names[:number])
    return shown + (f" and {len(names) - number} more" if len(names) > number else "")


def write_preprocessing(trained: Trained, network: ExportedNetwork, path: Path) -> None:
    """Writes ``preprocess.json``."""
    content = describe_preprocessing(trained, network)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
