"""From what a user types to what the parser of Lightning takes; nothing heavy is imported for it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import yaml

from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.options import COMMON, LINKED, check_options, options_by_class
from lit_cnn.commands.resuming import expand_run, is_restarted_job
from lit_cnn.data.names import find_dataset
from lit_cnn.network.catalogue import CatalogueEntry, default_variants, find_in_catalogue, read_catalogue

RESUME_HELP = """usage: lit-cnn resume RUN [options]

Continue the run in the folder RUN from its last checkpoint; RUN may be the word latest.
The options are those of lit-cnn fit, for example --trainer.max_epochs 20.
"""


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
