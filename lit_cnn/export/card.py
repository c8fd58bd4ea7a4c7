"""What lies beside an exported network: the classes, how files become pixels, and a model card."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lit_cnn import models
from lit_cnn.analysis.facts import RunFacts
from lit_cnn.data.formats import FORMATS, SUFFIXES
from lit_cnn.data.reading import MAX_PIXELS
from lit_cnn.data.system_files import NAMES as SYSTEM_NAMES
from lit_cnn.export.forms import FORMS, LABELS, ONNX, PREPROCESS
from lit_cnn.export.network import ExportedNetwork
from lit_cnn.inference.trained import Trained
from lit_cnn.network.counting import count_parameters
from lit_cnn.runs.folder import Run
from lit_cnn.training.class_scores import wilson

SCRIPT = "predict_onnx.py"
SCRIPT_COMMAND = f"python {SCRIPT} --images FOLDER --output FILE.csv"
HEAD = ("| file | what it is | largest difference from the run | equal answers |", "| --- | --- | --- | --- |")
# Settings of the Trainer that belong to the recipe.
TRAINER = ("max_epochs", "max_steps", "precision", "accumulate_grad_batches", "gradient_clip_val")
# Settings that are paths. Others are if they begin as one that is not relative, except for the regular expression.
PATHS = ("manifest", "table", "weights")
PATTERN = "group_by"
_OUTER = re.compile(r"~?/|\.\./|[A-Za-z]:[/\\]")


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
        "system_names": sorted(SYSTEM_NAMES),
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
    settings = recipe_of(facts.config)
    images, forms = parity["images"], parity["forms"]
    sections = [
        f"# {variant} trained on {trained.dataset or 'images that are not known'}",
        f"{models.describe(variant).paper}. {count_parameters(trained.network):,} parameters, "
        f"{num_classes} classes: {_first(trained.class_names)}.",
        "## Use",
        f"{_input_of(trained, network)} Output: probabilities (N, {num_classes}), in the order of `{LABELS}`. "
        f"Normalisation is inside. `{PREPROCESS}` has how a file becomes such an image.",
        *([f"```bash\n{SCRIPT_COMMAND}\n```"] if ONNX in forms else []),
        "\n".join([*HEAD, *(_row(name, of) for name, of in forms.items())]),
        f"Compared on {images['validation']} validation and {images['training']} training images.{_exceptions(forms)}",
        "## Scores",
        "\n".join(scores_of(facts)),
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


def recipe_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that matter to others: without folders of this machine, and without what was not set."""
    recipe = {name: config[name] for name in ("seed_everything", "model", "data") if name in config}
    trainer = {name: value for name in TRAINER if (value := (config.get("trainer") or {}).get(name)) not in (None, -1)}
    selection = {name: config[name] for name in ("ema", "monitor", "early_stopping") if config.get(name) is not None}
    return _without_folders(recipe | {"trainer": trainer}) | selection


def _without_folders(value: Any, setting: str = "") -> Any:
    if isinstance(value, Mapping):
        kept = {name: one for name, one in value.items() if one is not None and not str(name).endswith("_dir")}
        return {name: _without_folders(one, str(name)) for name, one in kept.items()}
    if isinstance(value, list):
        return [_without_folders(one, setting) for one in value]
    if isinstance(value, str) and setting != PATTERN and (setting in PATHS or _OUTER.match(value)):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value


def _row(name: str, of: Mapping[str, Any]) -> str:
    difference = of.get("max_difference")
    shown = "-" if difference is None else f"{difference:.1e}"
    return f"| `{name}` | {FORMS[name]} | {shown} | {of['equal_answers']:.2%} |"


def _exceptions(forms: Mapping[str, Any]) -> str:
    """What the table of forms does not tell: files that the script does not read, and what resizing inside changes."""
    sentences = ""
    if unread := forms.get(ONNX, {}).get("script", {}).get("unread"):
        sentences += f" `{SCRIPT}` does not read {unread} of them, with more than 8 bits a value or damaged metadata."
    if equal := [of["whole_images"]["equal_answers"] for of in forms.values() if "whole_images" in of]:
        sentences += f" Where the network resizes images itself, {min(equal):.2%} of the answers are those of the run."
    return sentences


def scores_of(facts: RunFacts) -> list[str]:
    """Accuracy on validation and test images with Wilson's intervals; without test scores of another checkpoint."""
    lines = []
    for split, noun in (("val", "validation"), ("test", "test")):
        accuracy, number = facts.results.get(f"{split}/acc"), facts.num_scored(split)
        if accuracy is None or (split == "test" and facts.other_checkpoint):
            continue
        ends = ""
        if number:
            low, high = (float(end) for end in wilson(np.array(round(accuracy * number)), np.array(number)))
            ends = f" (95 % interval {low:.2%} to {high:.2%}, {number:,} images)"
        lines.append(f"- {noun} accuracy {accuracy:.2%}{ends}")
    if facts.is_tested or facts.other_checkpoint:
        looks = facts.looks
        lines.append(f"- looks at the test set: {looks.by_run} by this run, {looks.in_total} by all {looks.num_runs} runs")
    else:
        lines.append("- the test set was not looked at")
    return lines


def _first(names: Sequence[str], number: int = 10) -> str:
    shown = ", ".join(names[:number])
    return shown + (f" and {len(names) - number} more" if len(names) > number else "")
