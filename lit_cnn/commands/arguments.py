"""From what a user types to what the parser of Lightning takes; nothing heavy is imported for it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.options import COMMON, KEYWORDS, LINKED, check_options, options_by_class, replace_augmentation
from lit_cnn.commands.policy import refuse_addresses
from lit_cnn.commands.resuming import expand_run
from lit_cnn.commands.seed_options import check_seeds
from lit_cnn.commands.trained_options import take_arguments_of_weights
from lit_cnn.commands.trial_options import check_trial_options
from lit_cnn.data.archive import SUFFIXES
from lit_cnn.data.names import find_dataset
from lit_cnn.data.rows import SUFFIXES as TABLES
from lit_cnn.network.catalogue import default_variants, find_in_catalogue, read_catalogue
from lit_cnn.system.paths import expand

SETTINGS_SUFFIXES = (".yaml", ".yml")
# As YAML writes that there is no value.
_NULLS = ("null", "Null", "NULL", "~")
RESUME_HELP = """usage: lit-cnn resume RUN [options]

Continue the run in the folder RUN from its last checkpoint; RUN may be the word latest.
Options that may change are those of lit-cnn fit, for example --trainer.devices 2; more epochs need the constant schedule.
"""


def prepare(command: str, *words: str) -> list[str]:
    """Prepares ``fit``, ``resume``, ``validate`` or ``test`` and its options for Lightning's parser.

    ``resume RUN`` becomes ``fit --run RUN``; names of variants, datasets and folders become classes and their arguments;
    ``--run FOLDER`` becomes the run's configuration and checkpoint.

    Returns:
        The command and its options.

    Raises:
        ValueError: If an option does not exist, a name stands for nothing, or a value is a remote address.
    """
    if command == "resume":
        if {"-h", "--help"} & set(words):
            print(RESUME_HELP, end="")
            sys.exit(0)
        if not words or words[0].startswith("-"):
            raise ValueError("which run? lit-cnn resume RUN, with a run's folder or the word latest")
        if any(word.partition("=")[0] == "--run" for word in words):
            raise ValueError("resume takes one run: lit-cnn resume RUN, without --run")
        command, words = "fit", ("--run", *words)
    for word in words:
        if not word.isprintable() and any("\udc80" <= character <= "\udcff" for character in word):
            raise ValueError(f"{word} is not text in {sys.getfilesystemencoding()}, and a run could not save it: rename it")
    arguments = Arguments(words)
    arguments.options = [("--tta", "flip") if option == ("--tta", None) else option for option in arguments.options]
    for name, value in arguments.options:
        refuse_addresses(value, name)
    if {"-h", "--help"} & set(arguments.names):
        if command == "fit":
            print(COMMON, flush=True)
        return [command, *arguments.words()]
    of_trainer = [name for name in arguments.names if name.startswith("--trainer.")]
    for name in ("--run", "--ckpt_path", "--config", "-c", "--model", "--data", "--runs_dir", *of_trainer):
        if "" in arguments.values(name):
            raise ValueError(f"{name} is empty: give a value, or leave it out")
    for name in ("--run", "--ckpt_path", "--runs_dir"):
        if set(_NULLS) & set(arguments.values(name)):  # the parser would take it for none, or for the name of a folder
            raise ValueError(f"{name} cannot be null: give a value, or leave it out")
    configurations = [_read_configuration(value) for value in arguments.values("--config", "-c")]
    _refuse_linked_options(arguments)
    for group in ("model", "data"):
        arguments.put_behind_class(group)
    name_classes(arguments)
    replace_augmentation(arguments)
    configured = {group: _settings_in(configurations, group) for group in ("model", "data")}
    classes = {group: arguments.last(f"--{group}") or configured[group][0] for group in configured}
    take_arguments_of_weights(arguments, classes["model"], configured["model"][1])
    check_options(arguments.names, classes["model"], classes["data"])
    _check_complete(command, arguments)
    expand_run(command, arguments, _find_runs_dir(arguments, configurations))
    checkpoint = arguments.last("--ckpt_path")
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise ValueError(f"a checkpoint must be a file, got {checkpoint}")
    return [command, *arguments.words()]


def _read_configuration(value: str, folder: Path = Path()) -> dict[str, Any]:
    """The settings in a file or a text; none if the file does not exist, which the parser reports.

    Args:
        value: Path of the file, or the settings themselves.
        folder: Where a relative path begins.
    """
    path = folder / value
    is_text = value[:1] in ("{", "[")
    if not is_text and not path.is_file():
        return {}
    try:
        content = yaml.safe_load(value if is_text else path.read_text(encoding="utf-8"))
        content = content if isinstance(content, dict) else {}
        if isinstance(content.get("config"), str):
            content = _read_configuration(content["config"], path.parent) | content
        model = content.get("model")
        if isinstance(model, str) and model.endswith(SETTINGS_SUFFIXES):
            content["model"] = _read_configuration(model, path.parent) or model
        return name_classes_in_configuration(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{value} is not a YAML file ({error})") from error
    except TypeError as error:
        raise ValueError(f"{value}: {error}") from error


def _find_runs_dir(arguments: Arguments, configurations: list[dict[str, Any]]) -> str:
    """Where runs are, as the parser will find it: what comes last counts."""
    contents, found = iter(configurations), "runs"
    for name, value in arguments.options:
        if value is not None and name in ("--config", "-c"):
            found = next(contents).get("runs_dir") or found
        elif value is not None and name == "--runs_dir":
            found = value
    return str(found)


def _settings_in(configurations: list[dict[str, Any]], group: str) -> tuple[str | None, dict[str, Any]]:
    """Class and arguments of the model or the data in configurations: what comes last counts."""
    named = [content[group] for content in configurations if isinstance(content.get(group), dict)]
    classes = [str(settings["class_path"]) for settings in named if "class_path" in settings]
    arguments = {name: value for settings in named for name, value in (settings.get("init_args") or {}).items()}
    return next(reversed(classes), None), arguments


def _check_complete(command: str, arguments: Arguments) -> None:
    names = set(arguments.names)
    check_seeds(command, arguments)
    check_trial_options(command, arguments)
    if command != "fit":
        if not names & {"--run", "--ckpt_path", "--print_config"}:
            raise ValueError(f"{command} needs a trained network: --run FOLDER, or --ckpt_path FILE")
        if "--name" in names:
            raise ValueError("--name is the name of a new run: only fit takes it")
        return
    if "--name" in names and "--run" in names:
        raise ValueError("--name is the name of a new run: a resumed run keeps its own")
    if names & {"--config", "-c", "--run", "--model.help", "--data.help"}:
        return
    missing = [group for group in ("model", "data") if not names & {f"--{group}", f"--{group}.class_path"}]
    if len(missing) == 2:
        raise ValueError("nothing to train: give --config FILE, or --model and --data")
    if missing:
        example = {"model": "--model resnet18", "data": "--data photos/, or --data fashion_mnist"}[missing[0]]
        raise ValueError(f"--{missing[0]} is missing: add {example}")
    given = {"--data.data_dir", "--data.init_args.data_dir", "--data.init_args"}
    if arguments.last("--data") == "ImageFolder" and not names & given:
        raise ValueError("ImageFolder needs the folder of the images: add --data.data_dir photos/, or say --data photos/")
    if arguments.last("--data") == "ImageTable" and not names & {"--data.table", "--data.init_args.table"}:
        raise ValueError("ImageTable needs a table: add --data.table photos.csv, or say --data photos.csv")


# Names


def name_classes(arguments: Arguments) -> None:
    """Replaces what ``--model`` and ``--data`` name by classes and their arguments.

    Raises:
        ValueError: If there is no such network or no such data.
    """
    for option in ("--model", "--model.help"):
        model = arguments.last(option)
        if model is not None and model.rpartition(".")[2] == "LitClassifier":
            raise ValueError(f"{option} {model} is no network: name one, such as resnet18 (lit-cnn models lists all)")
        if model is not None and not _is_class_path(model) and not _is_new(model):
            variant, network = find_in_catalogue(model)
            chosen = {"--model.variant": variant} if option == "--model" and model != network.class_name else {}
            arguments.replace(option, {option: network.class_name, **chosen})
    for option in ("--data", "--data.help"):
        data = arguments.last(option)
        if data is not None and not _is_class_path(data):
            dataset = find_dataset(data)
            if dataset.data_dir and "--data.data_dir" in arguments.names:
                raise ValueError(
                    f"--data {data} is the folder of the images already: remove --data.data_dir (make: DATA_DIR)"
                )
            own = dataset.arguments if option == "--data" else {}
            if option == "--data" and "--run" in arguments.names:
                # The data of the run are not to be mixed with these.
                rest = dataset.arguments_to_clear
                own = {name: value for name, value in rest.items() if f"--data.{name}" not in arguments.names} | own
            arguments.replace(option, {option: dataset.class_name, **{f"--data.{name}": own[name] for name in own}})


def _is_new(model: str) -> bool:
    """Whether a class stands in the sources and not yet in the catalogue of variants."""
    return model in options_by_class() and model not in default_variants(read_catalogue())


def _is_class_path(name: str) -> bool:
    """Whether a name is left to the parser: a class of another package, a file of settings, settings themselves."""
    is_file = name.lower().endswith((*SUFFIXES, *TABLES))
    looks_like_class = "." in name and not is_file and all(part.isidentifier() for part in name.split("."))
    looks_like_settings = name[:1] in "{[" or name.endswith(SETTINGS_SUFFIXES)
    return looks_like_settings or (looks_like_class and not expand(name).exists())


def name_classes_in_configuration(content: Any) -> Any:
    """Does to a configuration, or a part of one, what :func:`name_classes` does to the command line.

    Raises:
        TypeError: If it sets an argument of the model that follows from the data, or arguments are not where they belong.
    """
    if not isinstance(content, dict):
        return content
    content = _nest({key: name_classes_in_configuration(value) for key, value in content.items()})
    _refuse_linked(content)
    for key in ("model", "data"):
        if isinstance(content.get(key), str) and not _is_class_path(content[key]):
            content[key] = _as_class({"class_path": content[key]})
    return _as_class(content) if isinstance(content.get("class_path"), str) else content


def _nest(content: dict[str, Any]) -> dict[str, Any]:
    """Puts names with dots, such as ``data.init_args.image_size``, into the model and the data that they belong to."""
    nested = {key: value for key, value in content.items() if str(key).partition(".")[0] not in ("model", "data")}
    for group in ("model", "data"):
        if group in content:
            nested[group] = content[group]
        dotted = {key: value for key, value in content.items() if str(key).startswith(f"{group}.")}
        if not dotted:
            continue
        whole = nested.get(group) or {}
        whole = {"class_path": whole} if isinstance(whole, str) else dict(whole)
        for key, value in dotted.items():
            *path, last = [part for part in key.split(".")[1:] if part != "init_args"] or ["init_args"]
            inner = whole if last in KEYWORDS else whole.setdefault("init_args", {})
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = value
        nested[group] = _as_class(whole) if isinstance(whole.get("class_path"), str) else whole
    if "trainer" in nested and nested["trainer"] is None:  # nothing, or comments alone, stands below it
        del nested["trainer"]
    return nested


def _as_class(content: dict[str, Any]) -> dict[str, Any]:
    name = content["class_path"]
    if beside := [str(key) for key in content if key not in KEYWORDS]:
        raise TypeError(f"{beside[0]} stands beside class_path: arguments of a class belong below init_args")
    if content.get("init_args") is None:
        content = {key: value for key, value in content.items() if key != "init_args"}
    arguments = content.get("init_args", {})
    if not isinstance(arguments, dict):
        raise TypeError(f"init_args of {name} must be settings by name, got {arguments}")
    if isinstance(arguments.get("augment"), str):
        arguments["augment"] = {"preset": arguments["augment"]}
    class_name = name.rpartition(".")[2]
    if class_name.startswith("Lit") and class_name in options_by_class():
        _refuse_linked({"model": content})
    if _is_class_path(name) or class_name in options_by_class():
        return content
    with contextlib.suppress(ValueError):
        variant, network = find_in_catalogue(name)
        return _as_class({**content, "class_path": network.class_name, "init_args": {"variant": variant, **arguments}})
    with contextlib.suppress(ValueError):
        dataset = find_dataset(name)
        return {**content, "class_path": dataset.class_name, "init_args": {**dataset.arguments, **arguments}}
    return content  # a callback, a logger, or nothing that there is: the parser decides


def _refuse_linked_options(arguments: Arguments) -> None:
    """Refuses options, and files that they name, which set an argument of the model that follows from the data."""
    for name, value in arguments.options:
        if not name.startswith("--model"):
            continue
        is_settings = value is not None and (value[:1] == "{" or value.endswith(SETTINGS_SUFFIXES))
        try:
            _refuse_linked({name.lstrip("-"): _read_configuration(value) if is_settings else value})
        except TypeError as error:
            raise ValueError(f"{name}: {error}") from error


def _refuse_linked(content: dict[str, Any]) -> None:
    for path in _paths(content):
        if path[0] == "model" and len(path) > 1 and path[1] in LINKED:
            raise TypeError(f"{path[1]} of the model follows from the data and cannot be set")


def _paths(content: dict[str, Any]) -> Iterator[list[str]]:
    """The names of all settings, part by part: a mapping in a mapping is the same as a name with dots."""
    for key, value in content.items():
        start = [part for part in str(key).split(".") if part not in KEYWORDS]
        if isinstance(value, dict):
            yield from (start + rest for rest in _paths(value))
        elif start:
            yield start
