"""The options of ``fit``, ``validate`` and ``test`` by name, read from the sources: importing them takes seconds."""

from __future__ import annotations

import ast
import contextlib
import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from lit_cnn.commands.command_line import Arguments

PACKAGE = Path(__file__).parent.parent
# Options of the command itself.
COMMAND_OPTIONS = (
    "c",
    "ckpt_path",
    "compile",
    "config",
    "data",
    "diagnose",
    "early_stopping",
    "ema",
    "h",
    "help",
    "lr",
    "model",
    "monitor",
    "name",
    "print_config",
    "run",
    "runs_dir",
    "save_every_minutes",
    "save_every_steps",
    "seed_everything",
    "seeds",
    "test_after_fit",
    "threads",
    "time_limit",
    "trainer",
    "tta",
)
# What jsonargparse adds below --model, --data and --trainer.
KEYWORDS = ("class_path", "dict_kwargs", "help", "init_args")
# Arguments of the model that follow from the data.
LINKED = {"num_classes": "data.num_classes", "in_channels": "data.channels"}
# What people type, and what it is called here.
ALIASES = {
    "bs": "data.batch_size",
    "checkpoint": "ckpt_path",
    "epochs": "trainer.max_epochs",
    "gpus": "trainer.devices",
    "img_size": "data.image_size",
    "imgsz": "data.image_size",
    "learning_rate": "model.lr",
    "max_epoch": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "patience": "early_stopping",
    "pretrained": "model.weights",
    "resume": "run",
    "seed": "seed_everything",
    "wd": "model.weight_decay",
    "workers": "data.num_workers",
}
# The first page of `lit-cnn fit --help`.
COMMON = """usage: lit-cnn fit --model NAME --data NAME [options]
       lit-cnn fit --config FILE [options]

The options that people use:

  --model NAME                a network: resnet18, googlenet, … (lit-cnn models lists all)
  --data NAME                 a folder or archive of images (photos/), or a dataset (digits, fashion_mnist, cifar10, …)
  --config FILE               a recipe or the config.yaml of a run; options after it override it
  --name NAME                 name of the run's folder (default: time and a short id)
  --time_limit 20m            train as many epochs as fit into this time, measured before training; also 90s, 1h30m
  --test_after_fit            look at the test images once, with the best checkpoint
  --ema 0.999                 average the weights with this decay; the average is validated, kept and tested
  --monitor NAME              what the best checkpoint is judged by: val/acc, val/loss, val/f1 or last (default: by
                              the schedule: last if the learning rate falls to zero, else val/acc)
  --early_stopping N          stop after N validations in which the monitored metric did not improve
  --seed_everything N         seed of initialisation, order, augmentation and split (default: 0)
  --seeds N                   train once for each of N seeds, from 0, and compare; or a list: 0,3,7
  --trainer.max_epochs N      epochs (default: 10)
  --model.lr X                learning rate, the highest of its schedule
  --data.augment NAME         none, flip, standard, trivial, randaugment or strong
  --trainer.devices N         number of processors or GPUs
  --trainer.accelerator NAME  cpu or gpu (default: the fastest there is)
  --trainer.precision NAME    auto, 32-true, bf16-mixed or 16-mixed (default: auto)
  --data.batch_size N         images in a step, over all devices together
  --data.image_size N         height and width that the network sees, in pixels
  --data.data_dir FOLDER      where a dataset's files are, or are downloaded to (default: data)
  --lr auto                   find the learning rate once, as lit-cnn find-lr does, and use it as --model.lr
  --model.schedule NAME       constant, step, cosine or one_cycle
  --model.weight_decay X      weight decay
  --model.weights NAME        start from published weights (lit-cnn models lists them), a file or a run
  --model.freeze backbone     train the last layer alone

lit-cnn resume RUN continues a run. All options:
"""


@dataclass(frozen=True)
class Signature:
    """The arguments of a class as its source has them."""

    bases: tuple[str, ...]
    arguments: tuple[str, ...] | None  # of its own __init__; None if it inherits it
    takes_more: bool  # passes **kwargs on to its base


def _signatures(files: Iterable[Path]) -> dict[str, Signature]:
    found: dict[str, Signature] = {}
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.ClassDef):
                continue
            init = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
            bases = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
            if init is None:
                found[node.name] = Signature(bases, None, True)
            else:
                names = [argument.arg for argument in [*init.args.args[1:], *init.args.kwonlyargs]]
                found[node.name] = Signature(bases, tuple(names), init.args.kwarg is not None)
    return found


@cache
def options_by_class() -> dict[str, frozenset[str]]:
    """Arguments of every model, every dataset and the Trainer, by the name of the class."""
    lightning = find_spec("pytorch_lightning")
    assert lightning is not None
    assert lightning.origin is not None
    signatures = _signatures(
        [
            *sorted((PACKAGE / "models").glob("*.py")),
            *sorted((PACKAGE / "data").glob("*.py")),
            PACKAGE / "training" / "classifier.py",
            PACKAGE / "training" / "precision.py",
            Path(lightning.origin).parent / "trainer" / "trainer.py",
        ]
    )

    def arguments(name: str) -> set[str]:
        signature = signatures.get(name)
        if signature is None:
            return set()
        inherited = set().union(*map(arguments, signature.bases)) if signature.takes_more else set()
        return set(signature.arguments or ()) | inherited

    return {name: frozenset(arguments(name) - {"network"}) for name in signatures}


@cache
def augmentation_names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The presets of ``--data.augment`` and its parts."""
    presets: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    for node in ast.parse((PACKAGE / "data" / "augment" / "settings.py").read_text(encoding="utf-8")).body:
        if (
            isinstance(node, ast.AnnAssign)
            and ast.unparse(node.target) == "Preset"
            and isinstance(node.value, ast.Subscript)
        ):
            presets = ast.literal_eval(node.value.slice)
        if isinstance(node, ast.ClassDef) and node.name == "Augment":
            parts = tuple(ast.unparse(item.target) for item in node.body if isinstance(item, ast.AnnAssign))
    return presets, parts


def replace_augmentation(arguments: Arguments) -> None:
    """Lets ``--data.augment strong`` replace the whole augmentation of a configuration; parts can be typed beside it.

    Raises:
        ValueError: If there is no such preset; names all.
    """
    presets, parts = augmentation_names()
    typed = {name.replace(".init_args.", ".") for name in arguments.names}
    for name in ("--data.augment", "--data.init_args.augment"):
        value = arguments.last(name)
        if value is None:
            continue
        whole = _read_mapping(value) or {"preset": value}
        if (preset := whole.get("preset", presets[0])) not in presets:
            raise ValueError(f"{name} must be one of {', '.join(presets)}, got {preset}")
        beside = [
            option for option in arguments.options if option[0].replace(".init_args.", ".").startswith("--data.augment.")
        ]
        arguments.remove(*(option for option, _ in beside))
        others = {option: "null" for option in ("--data.flip", "--data.crop_padding") if option not in typed}
        arguments.replace(name, {name: json.dumps(dict.fromkeys(parts) | whole | {"preset": preset}), **others})
        arguments.options += beside


def _read_mapping(text: str) -> dict[str, Any] | None:
    """Settings such as ``{preset: flip, cutout: 8}``; None if a text is none."""
    with contextlib.suppress(yaml.YAMLError):
        content = yaml.safe_load(text)
        return content if isinstance(content, dict) else None
    return None


def options_of(group: str, class_name: str | None) -> frozenset[str] | None:
    """Arguments below ``--model``, ``--data`` or ``--trainer``; None if the class is unknown or not one of ours: the
    parser decides then."""
    known = options_by_class()
    if group == "trainer":
        return known["AutoTrainer"]
    package, _, name = (class_name or "").rpartition(".")
    return known.get(name) if not package or package.split(".")[0] == "lit_cnn" else None


def check_options(names: Sequence[str], model: str | None, data: str | None) -> None:
    """Refuses options that do not exist, before anything heavy is imported.

    Args:
        names: Options as typed, without values: ``--model.lr``.
        model: Class of the model; None if it is not known here, then the parser checks its options.
        data: Class of the data, likewise.

    Raises:
        ValueError: At the first option that does not exist; offers the nearest.
    """
    for name in names:
        group, _, rest = name.lstrip("-").rstrip("+").partition(".")
        if group not in ("model", "data", "trainer"):
            if name.lstrip("-") not in COMMAND_OPTIONS:
                raise ValueError(f"unknown option {name}; {_suggestion(name)}")
            continue
        path = [part for part in rest.split(".") if part]
        if path and path[0] == "init_args":
            path = path[1:]
        accepted = options_of(group, {"model": model, "data": data}.get(group))
        if group == "data" and path[:1] == ["augment"] and len(path) > 1:
            _, parts = augmentation_names()
            if path[1] not in parts:
                near = [f"--data.augment.{part}" for part in difflib.get_close_matches(path[1], parts, n=2)]
                hint = (
                    f"did you mean {' or '.join(near)}?" if near else f"the parts of --data.augment are {', '.join(parts)}"
                )
                raise ValueError(f"unknown option {name}; {hint}")
        if not path or accepted is None or path[0] in KEYWORDS or path[0] in accepted:
            if group == "model" and path and path[0] in LINKED:
                raise ValueError(f"{path[0]} of the model follows from the data and cannot be set")
            continue
        raise ValueError(f"unknown option {name}; {_suggestion(name, group, model if group == 'model' else data)}")


def _suggestion(name: str, group: str | None = None, class_name: str | None = None) -> str:
    bases = {"model": "LitClassifier", "data": "ImageFolder", "trainer": "AutoTrainer"}
    own = {one: options_by_class()[bases[one]] for one in bases}
    if group and class_name:
        own[group] = options_of(group, class_name) or own[group]
    full = [f"{one}.{option}" for one in sorted(own, key=lambda one: one != group) for option in sorted(own[one])]
    full += [option for option in COMMAND_OPTIONS if len(option) > 1] + ["model.variant"]
    leaf = name.lstrip("-").rpartition(".")[2].replace("-", "_")
    if leaf in ALIASES:
        return f"did you mean --{ALIASES[leaf]}?"
    exact = [option for option in full if option.rpartition(".")[2] == leaf]
    by_leaf = {option.rpartition(".")[2]: option for option in reversed(full)}
    near = exact or [by_leaf[close] for close in difflib.get_close_matches(leaf, by_leaf, n=2, cutoff=0.7)]
    if near:
        return f"did you mean {' or '.join(f'--{option}' for option in near)}?"
    return "lit-cnn fit --help lists the options"
