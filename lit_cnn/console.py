"""What the commands read from the command line and say on the screen."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import yaml

from lit_cnn.run import Run

# Set to anything, errors come with their traceback.
DEBUG = "LIT_CNN_DEBUG"


def arguments_of_run(arguments: list[str]) -> list[str]:
    """Adds what ``--run FOLDER`` stands for: its configuration, and the checkpoint to start from.

    Raises:
        ValueError: If the folder is not a run or has no such checkpoint.
    """
    folder = None
    for position, argument in enumerate(arguments):
        if argument.startswith("--run="):
            folder = argument.removeprefix("--run=")
        elif argument == "--run" and position + 1 < len(arguments):
            folder = arguments[position + 1]
    if folder is None or not arguments:
        return arguments
    command, *rest = arguments
    run = Run.open(folder)
    checkpoint = run.last if command == "fit" else run.checkpoint
    if checkpoint is None or not checkpoint.is_file():
        raise ValueError(f"the run {folder} has no checkpoint in {run.checkpoints} yet")
    return [command, f"--config={run.config}", f"--ckpt_path={checkpoint}", *rest]


def model_options(arguments: list[str]) -> set[str]:
    """Names of the model's arguments that are set on the command line or in the configuration files it names.

    Raises:
        ValueError: If a configuration file is not YAML.
    """
    names: set[str] = set()
    following = [*arguments[1:], ""]
    for argument, value in zip(arguments, following, strict=True):
        option, _, attached = argument.partition("=")
        if option.startswith("--model."):
            names.add(option.rpartition(".")[2])
        elif option in ("--config", "-c") and Path(attached or value).is_file():
            try:
                config = yaml.safe_load(Path(attached or value).read_text())
            except (yaml.YAMLError, UnicodeDecodeError) as error:
                raise ValueError(f"{attached or value} is not a YAML file ({error})") from error
            model = config.get("model") if isinstance(config, dict) else None
            names |= set(model.get("init_args") or ()) if isinstance(model, dict) else set()
    return names


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with one line for what a user can mend; anything else keeps its traceback.

    The exit status is 2 for what the user gave, 1 for what the machine could not do.
    """
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    try:
        yield
    except (ValueError, OSError, MisconfigurationException) as error:
        if os.environ.get(DEBUG):
            raise
        print(f"lit-cnn: error: {explain(str(error))}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ValueError) else 1)


def explain(message: str) -> str:
    """jsonargparse's account of what it could not parse, in one line that says what would do."""
    key = re.search(r'Parser key "([^"]+)"', message)
    given = re.search(r"Given value: (.+)|Got value: (.+)", message)
    unknown = re.search(r"Given value: (?:\{'class_path': ')?([\w.]+)", message)
    if key and key[1] in ("model", "data") and unknown and "path" in message:
        names = _names_of(key[1])
        near = difflib.get_close_matches(unknown[1], names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        if key[1] == "model" and (trained_by := _class_of_variant(unknown[1])):
            hint = f"it is a variant: --model {trained_by} --model.variant {unknown[1]}; "
        return f"unknown {key[1]} {unknown[1]}; {hint}there are {', '.join(names)}"
    if "arguments are required: fit.data, fit.model" in message:
        return "nothing to train: give --config FILE, or --model and --data"
    option = re.search(r"[Oo]ption '(\S+)' is not accepted|does not accept option '(\S+)'", message)
    if option:
        name = (option[1] or option[2]).rpartition(".")[2]
        near = [known for known in difflib.get_close_matches(name, _option_names(), n=2) if known != name]
        hint = f"did you mean {near[0]}?" if near else "--help, --model.help NAME and --data.help NAME list the options"
        return f"unknown option {name}; {hint}"
    missing = re.search(r"arguments are required: (\w+)$", message)
    if missing:
        return f"{missing[1]} is not given: add --data.{missing[1]}"
    # The alternatives of a union, less the None that stands for "not given".
    reasons = re.findall(r"^ +- (.+)$", message, re.MULTILINE) or re.findall(r"(Expected a .+?)\. Got value", message)
    reasons = [reason for reason in reasons if "NoneType" not in reason and "Union" not in reason]
    if not reasons:
        return " ".join(re.sub(r'Parser key "([^"]+)"', r"\1", message).split())
    what = f"{key[1]}: " if key else ""
    value = next(filter(None, given.groups())) if key and given else None
    names = re.findall(r"'([^']+)'", reasons[0]) if "typing.Literal" in reasons[0] else []
    if value and len(names) > 8 and (near := difflib.get_close_matches(value.strip("'"), names, n=3)):
        return f"{what}there is no {value}; did you mean {', '.join(near)}?"
    got = f", got {value}" if value else ""
    return what + " ".join(
        (" or ".join(map(_expectation, dict.fromkeys(reasons))).replace(" or expected", " or") + got).split()
    )


def _expectation(reason: str) -> str:
    """``Expected a <class 'int'>`` as "expected int", a ``Literal`` as the names that it allows."""
    names = re.search(r"Expected a typing\.Literal\[(.+)\]", reason)
    if names:
        return f"expected one of {names[1]}".replace("'", "")
    return re.sub(r"Expected an? (?:<class ')?([^'\s]+)(?:'>)?", r"expected \1", reason)


def _class_of_variant(name: str) -> str | None:
    from lit_cnn import models

    return models.lightning_module_of(name).__name__ if name in models.list_variants() else None


def _names_of(kind: str) -> list[str]:
    from lit_cnn import data, models

    names = [model.__name__ for model in models.ARCHITECTURES.values()]
    return sorted(names if kind == "model" else set(data.__all__) - {"ImageDataModule"})


def _option_names() -> list[str]:
    import inspect

    from pytorch_lightning import Trainer

    from lit_cnn import data, models
    from lit_cnn.classifier import LitClassifier

    classes = [Trainer, LitClassifier, *models.ARCHITECTURES.values(), *(getattr(data, name) for name in data.__all__)]
    return sorted({name for kind in classes for name in inspect.signature(kind).parameters})


def print_results(results: dict[str, float], checkpoint: str | Path | None, folder: Path | None) -> None:
    """The table at the end of a command."""

    def share(name: str) -> str:
        return f"{results[name]:.2%}"

    rows: list[tuple[str, str]] = []
    if "test/acc" in results:
        interval = f"95 % interval {share('test/acc_low')} to {share('test/acc_high')}"
        rows.append(("test accuracy", f"{share('test/acc')} ({interval}, {results['test/images']:,.0f} images)"))
    if "val/acc" in results:
        rows.append(("validation accuracy", share("val/acc")))
    for split, title in (("test", "test"), ("val", "validation")):
        for name, metric in (
            ("loss", "loss"),
            ("top5", "top-5 accuracy"),
            ("f1", "macro F1"),
            ("ece", "calibration error"),
        ):
            if f"{split}/{name}" in results:
                rows.append((f"{title} {metric}", f"{results[f'{split}/{name}']:.4f}"))
    if "train/images_per_s" in results:
        rows.append(("training speed", f"{results['train/images_per_s']:,.0f} images/s"))
    if "seconds" in results:
        rows.append(("training time", f"{results['seconds']:,.1f} s"))
    if checkpoint:
        rows.append(("checkpoint", str(checkpoint)))
    if folder:
        rows.append(("run folder", str(folder)))
    width = max((len(name) for name, _ in rows), default=0)
    print()
    for name, value in rows:
        print(f"{name:{width}}  {value}", flush=True)


def quiet() -> None:
    """Silences what the user can do nothing about; the command prints what matters of it itself."""
    # "GPU available", "Tip", "Seed set to 0", "Restoring states from": said better, or not worth saying.
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Lightning 2.6.6 asks torch for the kind of a tree's node in a way that torch is about to drop.
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")
