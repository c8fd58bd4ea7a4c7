"""What the commands say on the screen."""

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

from lit_cnn.commands.policy import ALLOW
from lit_cnn.errors import TrainingError

# Set to anything, errors come with their traceback.
DEBUG = "LIT_CNN_DEBUG"
# Exit status after Ctrl-C, as shells have it.
INTERRUPTED = 130
# How gloo and NCCL say that there is nobody at the other end.
LOST_PEER = re.compile(
    r"Connection (closed|reset) by peer|Broken pipe|gloo.*(closed|reset|refused)|NCCL.*(abort|remote)", re.I | re.S
)
# How torch says that a GPU's memory, or the machine's, is too small.
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory", re.I)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with one line for what a user can mend; anything else keeps its traceback.

    The exit status is 2 for what the user gave, 1 for what the machine could not do, 130 after Ctrl-C.
    """
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    try:
        yield
    except SystemExit as stopped:
        # Lightning answers Ctrl-C, where it gets it, with the status of a failure.
        if isinstance(stopped.__context__, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        raise
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ValueError, OSError, MisconfigurationException, TrainingError) as error:
        if os.environ.get(DEBUG):
            raise
        print(f"lit-cnn: error: {explain(str(error))}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ValueError) else 1)
    except RuntimeError as error:
        if os.environ.get(DEBUG):
            raise
        if LOST_PEER.search(str(error)):
            says = "another process of this training has ended; what it said of it stands above"
        elif OUT_OF_MEMORY.search(str(error)):
            says = f"{out_of_memory(error)}: make --data.batch_size or --data.image_size smaller"
        else:
            raise
        print(f"lit-cnn: error: {says}", file=sys.stderr)
        sys.exit(1)


def out_of_memory(error: RuntimeError) -> str:
    """torch's account of a memory that is too small, without what it advises programmers."""
    return f"there is not enough memory ({str(error).partition('. ')[0].splitlines()[0]})"


def explain(message: str) -> str:
    """jsonargparse's account of what it could not parse, in one line that says what would do."""
    denied = re.search(r"Importing '([\w.]+)' is not allowed", message)
    if denied:
        package = denied[1].partition(".")[0]
        return (
            f"{denied[1]} is not imported: a configuration may name what is in lit_cnn, and callbacks, "
            f"loggers, plugins, profilers, strategies and accelerators of pytorch_lightning; "
            f"if you trust it, set the environment variable {ALLOW}={package}"
        )
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
    from lit_cnn.training.classifier import LitClassifier

    classes = [Trainer, LitClassifier, *models.ARCHITECTURES.values(), *(getattr(data, name) for name in data.__all__)]
    return sorted({name for kind in classes for name in inspect.signature(kind).parameters})


def quiet() -> None:
    """Silences what the user can do nothing about; the command prints what matters of it itself."""
    # "GPU available", "Tip", "Seed set to 0", "Restoring states from": said better, or not worth saying.
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # torch.compile without a GPU, on a machine that has CUDA's compiler.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    # Lightning 2.6.6 asks torch for the kind of a tree's node in a way that torch is about to drop.
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")


def silence_own_doing(fitting: bool, interval_given: bool, checkpoints: Path | None) -> None:
    """Silences what Lightning warns of because of the command, not because of what the user gave.

    Args:
        fitting: Whether the command trains.
        interval_given: Whether the user chose how often steps are logged.
        checkpoints: The folder of a run that goes on.
    """
    about: list[str] = []
    if not fitting:
        about.append(r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint")
    elif not interval_given:
        # The metrics of an epoch are logged all the same.
        about.append(r"The number of training batches \(\d+\) is smaller than the logging interval")
    if checkpoints:
        about.append(rf"Checkpoint directory {re.escape(str(checkpoints.resolve()))} exists and is not empty")
    for message in about:
        warnings.filterwarnings("ignore", message, UserWarning)
