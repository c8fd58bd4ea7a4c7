"""From what a user types to what the parser of Lightning takes; nothing heavy is imported for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.configuration_file import SETTINGS_SUFFIXES, is_class_path, read_configuration, refuse_linked
from lit_cnn.commands.evaluation_options import check_evaluation_options
from lit_cnn.commands.options import COMMON, check_options, options_by_class, replace_augmentation
from lit_cnn.commands.policy import refuse_addresses
from lit_cnn.commands.resuming import check_run_folder, expand_run
from lit_cnn.commands.seed_options import check_seeds
from lit_cnn.commands.trained_options import take_arguments_of_weights
from lit_cnn.commands.trial_options import check_trial_options
from lit_cnn.data.names import find_dataset
from lit_cnn.network.catalogue import default_variants, find_in_catalogue, read_catalogue

# As YAML writes that there is no value.
_NULLS = ("null", "Null", "NULL", "~")
RESUME_HELP = """usage: lit-cnn resume RUN [options]

Continue the run in the folder RUN from its last checkpoint; RUN may be the word latest.
Options that may change are those of lit-cnn fit, for example --trainer.devices 2; more epochs need the constant schedule.
"""


def prepare(command: str, *words: str, may_resume_job: bool = True) -> list[str]:
    """Prepares ``fit``, ``resume``, ``validate`` or ``test`` and its options for Lightning's parser.

    ``resume RUN`` becomes ``fit --run RUN``; names of variants, datasets and folders become classes and their arguments;
    ``--run FOLDER`` becomes the run's configuration and checkpoint.

    Args:
        command: Its name.
        words: Its options, and the run of ``resume``.
        may_resume_job: Whether a new training, in a job that SLURM or torchrun has restarted, is the one that goes on. It is
            not where another command trains.

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
    check_evaluation_options(command, arguments)
    of_trainer = [name for name in arguments.names if name.startswith("--trainer.")]
    for name in ("--run", "--ckpt_path", "--config", "-c", "--model", "--data", "--runs_dir", *of_trainer):
        if "" in arguments.values(name):
            raise ValueError(f"{name} is empty: give a value, or leave it out")
    for name in ("--run", "--ckpt_path", "--runs_dir", "--name"):
        if set(_NULLS) & set(arguments.values(name)):  # the parser would take it for none, or for the name of a folder
            raise ValueError(f"{name} cannot be null: give a value, or leave it out")
    configurations = [read_configuration(value) for value in arguments.values("--config", "-c")]
    _refuse_linked_options(arguments)
    for group in ("model", "data"):
        arguments.put_behind_class(group)
    configured = {group: _settings_in(configurations, group) for group in ("model", "data")}
    name_classes(arguments, configured["data"][0])
    replace_augmentation(arguments)
    classes = {group: arguments.last(f"--{group}") or configured[group][0] for group in configured}
    take_arguments_of_weights(arguments, classes["model"], configured["model"][1])
    check_options(arguments.names, classes["model"], classes["data"])
    _check_complete(command, arguments)
    _check_folds(arguments, configured["data"][1])
    if command == "fit" and "--run" not in arguments.names:
        _lift_limit_of_epochs(arguments, configurations)
    expand_run(command, arguments, _find_runs_dir(arguments, configurations), may_resume_job)
    checkpoint = arguments.last("--ckpt_path")
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise ValueError(f"a checkpoint must be a file, got {checkpoint}")
    return [command, *arguments.words()]


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


def _check_folds(arguments: Arguments, configured: dict[str, Any]) -> None:
    """Refuses a typed share of the validation set where folds divide the images."""
    folds = arguments.last("--data.num_folds", "--data.init_args.num_folds") or configured.get("num_folds")
    share = arguments.last("--data.val_fraction", "--data.init_args.val_fraction")
    if share is not None and folds is not None and folds not in _NULLS and "--run" not in arguments.names:
        raise ValueError("--data.val_fraction has no effect where num_folds divides the images: leave one of them out")


def _lift_limit_of_epochs(arguments: Arguments, configurations: list[dict[str, Any]]) -> None:
    """If the length of a training is given in steps alone, the usual number of epochs does not end it before."""
    of_files = [content["trainer"] for content in configurations if isinstance(content.get("trainer"), dict)]
    settings = {name: value for settings in of_files for name, value in settings.items()}
    steps = arguments.last("--trainer.max_steps") or settings.get("max_steps")
    has_epochs = "max_epochs" in settings or "--trainer.max_epochs" in arguments.names
    if steps not in (None, -1, "-1") and not has_epochs:
        arguments.options.append(("--trainer.max_epochs", "-1"))


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
    check_run_folder(arguments)
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


def name_classes(arguments: Arguments, configured_data: str | None = None) -> None:
    """Replaces what ``--model`` and ``--data`` name by classes and their arguments.

    Args:
        arguments: What was typed.
        configured_data: Class of the data in the configurations.

    Raises:
        ValueError: If there is no such network or no such data.
    """
    for option in ("--model", "--model.help"):
        model = arguments.last(option)
        if model is not None and model.rpartition(".")[2] == "LitClassifier":
            raise ValueError(f"{option} {model} is no network: name one, such as resnet18 (lit-cnn models lists all)")
        if model is not None and not is_class_path(model) and not _is_new(model):
            variant, network = find_in_catalogue(model)
            chosen = {"--model.variant": variant} if option == "--model" and model != network.class_name else {}
            arguments.replace(option, {option: network.class_name, **chosen})
    for option in ("--data", "--data.help"):
        data = arguments.last(option)
        if data is not None and not is_class_path(data):
            dataset = find_dataset(data)
            if dataset.data_dir and "--data.data_dir" in arguments.names:
                raise ValueError(
                    f"--data {data} is the folder of the images already: remove --data.data_dir (make: DATA_DIR)"
                )
            own = dataset.arguments if option == "--data" else {}
            rest: dict[str, str] = {}
            if option == "--data" and "--run" in arguments.names:
                rest = dataset.arguments_to_clear
            elif option == "--data" and dataset.has_other_files_than(configured_data):
                rest = {"data_dir": dataset.arguments_to_clear["data_dir"]}
            if rest:  # the data of the run or of the configuration are not to be mixed with these
                own = {name: value for name, value in rest.items() if f"--data.{name}" not in arguments.names} | own
            arguments.replace(option, {option: dataset.class_name, **{f"--data.{name}": own[name] for name in own}})


def _is_new(model: str) -> bool:
    """Whether a class stands in the sources and not yet in the catalogue of variants."""
    return model in options_by_class() and model not in default_variants(read_catalogue())


def _refuse_linked_options(arguments: Arguments) -> None:
    """Refuses options, and files that they name, which set an argument of the model that follows from the data."""
    for name, value in arguments.options:
        if not name.startswith("--model"):
            continue
        is_settings = value is not None and (value[:1] == "{" or value.endswith(SETTINGS_SUFFIXES))
        try:
            refuse_linked({name.lstrip("-"): read_configuration(value) if is_settings else value})
        except TypeError as error:
            raise ValueError(f"{name}: {error}") from error
