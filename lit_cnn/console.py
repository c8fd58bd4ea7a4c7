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

from lit_cnn.errors import TrainingError
from lit_cnn.run import Run

# Processes that a launcher starts for the other devices, and jobs that are started again, find the folder of their run here.
RUN_FOLDER = "LIT_CNN_RUN_FOLDER"
# Set to anything, errors come with their traceback.
DEBUG = "LIT_CNN_DEBUG"
# Packages whose classes a configuration may name, and the variable that adds others, with commas between them.
ALLOWED = (
    "lit_cnn",
    *(f"pytorch_lightning.{part}" for part in ("callbacks", "loggers", "plugins", "profilers", "strategies")),
    "pytorch_lightning.accelerators",
    "lightning_fabric.plugins",
)
ALLOW = "LIT_CNN_ALLOW"
# Exit status after Ctrl-C, as shells have it.
INTERRUPTED = 130
# How gloo and NCCL say that there is nobody at the other end.
LOST_PEER = re.compile(
    r"Connection (closed|reset) by peer|Broken pipe|gloo.*(closed|reset|refused)|NCCL.*(abort|remote)", re.I | re.S
)


def arguments_of_run(arguments: list[str]) -> list[str]:
    """Adds what ``--run FOLDER`` stands for: its configuration, and the checkpoint to start from.

    Raises:
        ValueError: If the folder is not a run or has no such checkpoint.
    """
    folder: str | Path | None = next(reversed(_values(arguments, "--run")), None)
    if folder is None and "last" in _values(arguments, "--ckpt_path"):
        configs = [Path(value) for value in _values(arguments, "--config", "-c")]
        folder = next((path.parent for path in configs if path.name == "config.yaml"), None)
        if folder is None:
            raise ValueError("--ckpt_path last goes with the config.yaml in a run's folder: --run FOLDER says both")
        arguments = _without(arguments, "--ckpt_path")
    if not arguments:
        return arguments
    if folder is None:
        restarted = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
        begun = Run(os.environ[RUN_FOLDER]) if restarted and RUN_FOLDER in os.environ else None
        checkpoint = _to_go_on_from(begun) if begun and arguments[0] == "fit" else None
        return [*arguments, f"--ckpt_path={checkpoint}"] if checkpoint else arguments
    command, *rest = arguments
    run = Run.open(folder)
    checkpoint = _to_go_on_from(run) if command == "fit" else run.checkpoint
    if checkpoint is None:
        raise ValueError(f"the run {folder} has no checkpoint in {run.checkpoints} yet")
    # Runs from before there was a choice name no precision.
    precision = ["--trainer.precision=32-true"] if command in ("fit", "validate", "test") else []
    return [command, *precision, f"--config={run.config}", f"--ckpt_path={checkpoint}", f"--run={run.path}", *rest]


def _values(arguments: list[str], *options: str) -> list[str]:
    """What is given to an option, as ``--option value`` or ``--option=value``, each time that it is."""
    values: list[str] = []
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        option, equals, attached = argument.partition("=")
        if option in options and (equals or following is not None):
            values.append(attached if equals else str(following))
    return values


def _without(arguments: list[str], option: str) -> list[str]:
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if not skip and argument.partition("=")[0] != option:
            kept.append(argument)
        skip = argument == option and not skip
    return kept


def _to_go_on_from(run: Run) -> Path | None:
    """The last checkpoint of a run; where it is damaged, the one before, which is said.

    Raises:
        ValueError: If neither is whole: what was trained is not to be lost without a word.
    """
    from lit_cnn.training.checkpoint_io import find_damage, previous

    there = [path for path in (run.last, previous(run.last)) if path.is_file() or path.is_symlink()]
    damage = {path: find_damage(path) for path in there}
    whole = next((path for path in there if damage[path] is None), None)
    found = "; ".join(f"{path} is damaged ({what})" for path, what in damage.items() if what)
    if whole is None:
        if found:
            raise ValueError(f"the run {run.path} cannot go on: {found}")
        return None
    if whole != run.last:
        if run.last.is_symlink() or run.last.exists():
            run.last.replace(run.last.with_name("last.damaged.ckpt"))  # lest it becomes the predecessor of the next
        print(f"lit-cnn: warning: {found or f'{run.last} is missing'}; going on from {whole}", file=sys.stderr, flush=True)
    return whole


def import_nothing_foreign() -> None:
    """Lets configurations and options name classes of :data:`ALLOWED` packages alone; others are not even imported."""
    from jsonargparse import set_parsing_settings

    added = [name.strip() for name in os.environ.get(ALLOW, "").split(",") if name.strip()]
    set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=[*ALLOWED, *added],
        instantiate_subclass_spec_in_any=False,  # what may be anything is no place for a class
    )


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
        if os.environ.get(DEBUG) or not LOST_PEER.search(str(error)):
            raise
        print("lit-cnn: error: another process of this training has ended; what it said of it stands above", file=sys.stderr)
        sys.exit(1)


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
    if results.get("test/looks"):
        rows.append(("looks at the test set", f"{results['test/looks']:,.0f}, see ledger.jsonl"))
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
