"""From what a user types to what the parser of Lightning takes; nothing heavy is imported for it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from lit_cnn.commands.options import COMMON, LINKED, check_options, options_by_class
from lit_cnn.data.names import find_dataset
from lit_cnn.network.catalogue import CatalogueEntry, default_variants, find_in_catalogue, read_catalogue
from lit_cnn.runs.folder import Run, find_run

# Processes that a launcher starts for the other devices, and restarted jobs, find the folder of their run here.
RUN_FOLDER = "LIT_CNN_RUN_FOLDER"
RESUME_HELP = """usage: lit-cnn resume RUN [options]

Continue the run in the folder RUN from its last checkpoint; RUN may be the word latest.
The options are those of lit-cnn fit, for example --trainer.max_epochs 20.
"""


class Arguments:
    """Options with their values, in the order in which they were typed.

    Args:
        words: As in ``sys.argv``, without program and command.

    Raises:
        ValueError: If a word is neither an option nor the value of one.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.options: list[tuple[str, str | None]] = []
        for word in words:
            if word.startswith("--") or word in ("-c", "-h"):
                name, equals, value = word.partition("=")
                self.options.append((name, value if equals else None))
            elif self.options and self.options[-1][1] is None:
                self.options[-1] = (self.options[-1][0], word)
            else:
                raise ValueError(f"{word!r} belongs to no option: options begin with --, and take one value")

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.options]

    def values(self, *names: str) -> list[str]:
        """Every value of an option, whichever of its names was used."""
        return [value for name, value in self.options if name in names and value is not None]

    def last(self, *names: str) -> str | None:
        """The value that counts: the last one."""
        return next(reversed(self.values(*names)), None)

    def remove(self, *names: str) -> None:
        self.options = [option for option in self.options if option[0] not in names]

    def put_first(self, **options: str | Path | None) -> None:
        """Puts options in front of all others, which override them."""
        self.options = [(f"--{name}", str(value)) for name, value in options.items() if value is not None] + self.options

    def replace(self, name: str, replacements: dict[str, str | None]) -> None:
        """Puts other options in the places of one."""
        changed: list[tuple[str, str | None]] = []
        for option in self.options:
            changed += replacements.items() if option[0] == name else [option]
        self.options = changed

    def words(self) -> list[str]:
        return [name if value is None else f"{name}={value}" for name, value in self.options]


def prepare(command: str, *words: str) -> list[str]:
    """Prepares ``fit``, ``resume``, ``validate`` or ``test`` and its options for Lightning's parser.

    ``resume RUN`` becomes ``fit --run RUN``; names of variants, datasets and folders become classes and their arguments;
    ``--run FOLDER`` becomes the run's configuration and checkpoint.

    Returns:
        The command and its options.

    Raises:
        ValueError: If an option does not exist or a name stands for nothing.
    """
    if command == "resume":
        if {"-h", "--help"} & set(words):
            print(RESUME_HELP, end="")
            sys.exit(0)
        if not words or words[0].startswith("-"):
            raise ValueError("which run? lit-cnn resume RUN, with a run's folder or the word latest")
        command, words = "fit", ("--run", *words)
    arguments = Arguments(words)
    if {"-h", "--help"} & set(arguments.names):
        if command == "fit":
            print(COMMON, flush=True)
        return [command, *arguments.words()]
    _check_files(arguments)
    name_classes(arguments)
    check_options(arguments.names, arguments.last("--model"), arguments.last("--data"))
    if command == "fit":
        _check_complete(arguments)
    expand_run(command, arguments)
    return [command, *arguments.words()]


def _check_files(arguments: Arguments) -> None:
    for path in map(Path, arguments.values("--config", "-c")):
        if path.is_file():
            try:
                yaml.safe_load(path.read_text())
            except (yaml.YAMLError, UnicodeDecodeError) as error:
                raise ValueError(f"{path} is not a YAML file ({error})") from error


def _check_complete(arguments: Arguments) -> None:
    if {"--config", "-c", "--run", "--model.help", "--data.help"} & set(arguments.names):
        return
    missing = [name for name in ("--model", "--data") if name not in arguments.names]
    if len(missing) == 2 and not is_restarted_job():
        raise ValueError("nothing to train: give --config FILE, or --model and --data")
    if missing:
        example = "--model resnet18" if missing == ["--model"] else "--data photos/, or --data fashion_mnist"
        raise ValueError(f"{missing[0]} is missing: add {example}")
    if arguments.last("--data") == "ImageFolder" and "--data.data_dir" not in arguments.names:
        raise ValueError("ImageFolder needs the folder of the images: add --data.data_dir photos/, or say --data photos/")


# Names


def name_classes(arguments: Arguments) -> None:
    """Replaces what ``--model`` and ``--data`` name by classes and their arguments.

    Raises:
        ValueError: If there is no such network or no such data.
    """
    model, data = arguments.last("--model"), arguments.last("--data")
    network: CatalogueEntry | None = None
    if model is not None and not _is_class_path(model) and not _is_new(model):
        variant, network = find_in_catalogue(model)
        if model != network.class_name:
            arguments.replace("--model", {"--model": network.class_name, "--model.variant": variant})
        elif chosen := arguments.last("--model.variant"):
            network = read_catalogue().get(chosen)
    if data is not None and not _is_class_path(data):
        dataset = find_dataset(data)
        arguments.replace("--data", {"--data": dataset.class_name, **_options_of_folder(dataset.data_dir)})
        # What a folder's images are resized to, where nobody says it: the size that the network was made for.
        if dataset.data_dir and network and not arguments.values("--config", "-c", "--run", "--data.image_size"):
            arguments.options.append(("--data.image_size", str(network.input_shape[-1])))


def _is_new(model: str) -> bool:
    """Whether a class stands in the sources and not yet in the catalogue of variants."""
    return model in options_by_class() and model not in default_variants(read_catalogue())


def _options_of_folder(data_dir: str | None) -> dict[str, str | None]:
    return {"--data.data_dir": data_dir} if data_dir else {}


def _is_class_path(name: str) -> bool:
    """Whether a name is left to the parser: a class of another package, a file of settings, settings themselves."""
    looks_like_class = "." in name and all(part.isidentifier() for part in name.split("."))
    looks_like_settings = name[:1] in "{[" or name.endswith((".yaml", ".yml"))
    return looks_like_settings or (looks_like_class and not Path(name).expanduser().exists())


def name_classes_in_configuration(content: Any) -> Any:
    """Does to a configuration, or a part of one, what :func:`name_classes` does to the command line.

    Raises:
        TypeError: If it sets an argument of the model that follows from the data.
    """
    if not isinstance(content, dict):
        return content
    content = {key: name_classes_in_configuration(value) for key, value in content.items()}
    for key in ("model", "data"):
        if isinstance(content.get(key), str) and not _is_class_path(content[key]):
            content[key] = _as_class({"class_path": content[key]})
    return _as_class(content) if isinstance(content.get("class_path"), str) else content


def _as_class(content: dict[str, Any]) -> dict[str, Any]:
    name, arguments = content["class_path"], content.get("init_args") or {}
    class_name = name.rpartition(".")[2]
    if class_name.startswith("Lit") and class_name in options_by_class() and (linked := LINKED.keys() & arguments):
        raise TypeError(f"{min(linked)} of the model follows from the data and cannot be set")
    if _is_class_path(name) or class_name in options_by_class():
        return content
    with contextlib.suppress(ValueError):
        variant, network = find_in_catalogue(name)
        return _as_class({**content, "class_path": network.class_name, "init_args": {"variant": variant, **arguments}})
    with contextlib.suppress(ValueError):
        dataset = find_dataset(name)
        own = {"data_dir": dataset.data_dir} if dataset.data_dir else {}
        return {**content, "class_path": dataset.class_name, "init_args": {**own, **arguments}}
    return content  # a callback, a logger, or nothing that there is: the parser decides


# Runs


def expand_run(command: str, arguments: Arguments) -> None:
    """Puts a run's configuration and checkpoint in the place of ``--run``.

    ``--ckpt_path last`` and ``best`` are those of the run, which ``--config FOLDER/config.yaml`` names too. A job that SLURM
    or torchrun has restarted resumes its run.

    Raises:
        ValueError: If the folder is not a run or has no such checkpoint.
    """
    folder, checkpoint = arguments.last("--run"), arguments.last("--ckpt_path")
    named = checkpoint in ("last", "best")
    if folder is None and named:
        folder = next((path for path in arguments.values("--config", "-c") if Path(path).name == "config.yaml"), None)
        if folder is None:
            raise ValueError(f"--ckpt_path {checkpoint} needs the run that it belongs to: add --run FOLDER")
    if folder is None:
        run = _run_of_restarted_job() if command == "fit" else None
        arguments.put_first(ckpt_path=_checkpoint_of(run, "fit", None) if run else None)
        return
    run = find_run(folder, arguments.last("--runs_dir") or "runs")
    if command == "fit" and is_restarted_job() and (resumed_from := _checkpoint_to_resume(run)):
        checkpoint = str(resumed_from)  # whatever the job had started from
    elif checkpoint is None or named:
        match = _checkpoint_of(run, command, checkpoint)
        checkpoint = str(match) if match else None
    arguments.remove("--run", "--ckpt_path")
    arguments.put_first(config=run.config, ckpt_path=checkpoint, run=run.path)


def _checkpoint_of(run: Run, command: str, name: str | None) -> Path | None:
    """The checkpoint of a run that is named ``last`` or ``best``, or that a command takes if none is named.

    Returns:
        None if the run was stopped before it saved anything, and begins anew.

    Raises:
        ValueError: If there is no such checkpoint, or it cannot be resumed.
    """
    if command == "fit":
        if name == "best":
            raise ValueError(
                f"{run.best} holds weights alone and cannot be resumed: resume from the last checkpoint (lit-cnn resume "
                f"{run.path}), or start a new run from these weights (--model.weights {run.path})"
            )
        match = _checkpoint_to_resume(run)
    else:
        files = {"best": run.best, "last": run.last}
        match = run.checkpoint if name is None else files[name] if files[name].is_file() else None
    if match is None and (name or command != "fit" or run.metrics.exists()):
        raise ValueError(f"the run {run.path} has no checkpoint{f' {name}' if name else ''} in {run.checkpoints}")
    if match is None:
        warn(f"the run {run.path} was stopped before its first checkpoint; it begins anew")
    return match


def _checkpoint_to_resume(run: Run) -> Path | None:
    """The last checkpoint of a run; the previous one with a warning if the last is damaged.

    Raises:
        ValueError: If both are damaged: no training is lost in silence.
    """
    from lit_cnn.runs.checkpoint_file import find_damage, previous

    files = [path for path in (run.last, previous(run.last)) if path.is_file() or path.is_symlink()]
    damage = {path: find_damage(path) for path in files}
    whole = next((path for path in files if damage[path] is None), None)
    damaged = "; ".join(f"{path} is damaged ({problem})" for path, problem in damage.items() if problem)
    if whole is None:
        if damaged:
            raise ValueError(f"the run {run.path} cannot be resumed: {damaged}")
        return None
    if whole != run.last:
        # So that it is not kept as the previous checkpoint. Another process may have been quicker.
        with contextlib.suppress(FileNotFoundError):
            run.last.replace(run.last.with_name("last.damaged.ckpt"))
        warn(f"{damaged or f'{run.last} is missing'}; resuming from {whole}")
    return whole


def is_restarted_job() -> bool:
    """Whether SLURM or torchrun has restarted this job, with the arguments of the first time."""
    return any(int(os.environ.get(name, "0")) > 0 for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))


def _run_of_restarted_job() -> Run | None:
    if not is_restarted_job():
        return None
    if RUN_FOLDER not in os.environ:
        raise ValueError(f"this job was restarted, but the folder of its run is not known: set {RUN_FOLDER}=runs/…")
    return Run(os.environ[RUN_FOLDER])


def warn(message: str) -> None:
    """Prints a warning, in the first process alone."""
    rank = next((os.environ[name] for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ), "0")
    if rank == "0":
        print(f"lit-cnn: warning: {message}", file=sys.stderr, flush=True)
