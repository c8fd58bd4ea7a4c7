"""Settings that the parser accepts and nothing can be trained with: null for a number, and empty texts."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from jsonargparse import Namespace

from lit_cnn.commands.options import LINKED
from lit_cnn.data.names import OWN_IMAGES
from lit_cnn.network.catalogue import read_catalogue
from lit_cnn.training.precision import AutoTrainer


def check_settings(config: Namespace) -> None:
    """Refuses settings that would end in the middle of a training, or in a message that does not name them.

    Args:
        config: What the parser returned.

    Raises:
        ValueError: At the first such setting; names it.
    """
    if not config.runs_dir:
        raise ValueError("runs_dir is empty: name a folder, or leave it out")
    for group in ("model", "data", "trainer"):
        for name, cls, arguments in _classes_in(config[group], group, AutoTrainer if group == "trainer" else None):
            for argument, value in arguments.items():
                if value is None and not (group == "model" and argument in LINKED) and not _takes_null(cls, argument):
                    raise ValueError(f"{name}.{argument}: expected {_describe_type(cls, argument)}. Got value: null")
                if value == "" and group == "data":  # a folder that was not filled in would be the current one
                    raise ValueError(f"{name}.{argument} is empty: give a value, or leave it out")


def _classes_in(settings: Any, name: str, cls: type | None = None) -> Iterator[tuple[str, type, dict[str, Any]]]:
    """Every class that settings name, with its place and its arguments."""
    if isinstance(settings, list):
        for index, item in enumerate(settings):
            yield from _classes_in(item, f"{name}[{index}]")
        return
    if not isinstance(settings, Namespace):
        return
    arguments = settings
    if cls is None:
        if not isinstance(settings.get("class_path"), str):
            return
        module, _, class_name = settings.class_path.rpartition(".")
        cls = getattr(import_module(module), class_name)
        arguments = settings.get("init_args") or Namespace()
    values = {key: arguments[key] for key in vars(arguments)}
    yield name, cls, values
    for key, value in values.items():
        yield from _classes_in(value, f"{name}.{key}")


def _parameter(cls: type, argument: str) -> tuple[Any, Any]:
    """Type and default of an argument, of the class itself or of a base to which it hands its arguments on."""
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        parameter = inspect.signature(init).parameters.get(argument) if inspect.isfunction(init) else None
        if parameter:
            try:
                annotation = typing.get_type_hints(init).get(argument, Any)
            except (NameError, TypeError):  # names that are imported for type checkers only
                annotation = parameter.annotation
            return annotation, parameter.default
    return Any, None


def _takes_null(cls: type, argument: str) -> bool:
    annotation, default = _parameter(cls, argument)
    is_open = default is None or annotation in (Any, inspect.Parameter.empty)
    return is_open or any(word in str(annotation) for word in ("None", "Optional"))


def _describe_type(cls: type, argument: str) -> str:
    annotation, _ = _parameter(cls, argument)
    if typing.get_origin(annotation) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(annotation)))}"
    return getattr(annotation, "__name__", str(annotation))


def choose_image_size(config: Namespace) -> None:
    """Lets a network see a user's images at the size for which it was published, if no other is given."""
    data, variant = config.data, config.model.init_args.get("variant")
    if data.class_path.rpartition(".")[2] in OWN_IMAGES and data.init_args.image_size is None:
        network = read_catalogue().get(variant)
        data.init_args.image_size = network.input_shape[-1] if network else None
