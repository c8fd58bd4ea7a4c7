"""A configuration that a user wrote, in the form that the parser takes; nothing heavy is imported for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lit_cnn.commands.options import KEYWORDS, LINKED, options_by_class
from lit_cnn.data.archive import SUFFIXES
from lit_cnn.data.names import find_dataset
from lit_cnn.data.rows import SUFFIXES as TABLES
from lit_cnn.network.catalogue import find_in_catalogue
from lit_cnn.system.paths import expand

SETTINGS_SUFFIXES = (".yaml", ".yml")
GROUPS = ("model", "data", "trainer")


def read_configuration(value: str, folder: Path = Path()) -> dict[str, Any]:
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
        content = yaml.load(value if is_text else path.read_text(encoding="utf-8"), UniqueLoader)
        content = content if isinstance(content, dict) else {}
        if isinstance(content.get("config"), dict | list):
            raise TypeError(f"config must be the path of one file of settings, got {content['config']}")
        if isinstance(content.get("config"), str):
            content = read_configuration(content["config"], path.parent) | content
        model = content.get("model")
        if isinstance(model, str) and model.endswith(SETTINGS_SUFFIXES):
            content["model"] = read_configuration(model, path.parent) or model
        return name_classes_in_configuration(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{value} is not a YAML file ({error})") from error
    except TypeError as error:
        raise ValueError(f"{value}: {error}") from error


class UniqueLoader(yaml.SafeLoader):
    """Refuses a name that stands twice in one place: YAML would take the last and drop the others."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            earlier = first.setdefault(str(key.value), key)
            if earlier is not key:
                lines = f"lines {earlier.start_mark.line + 1} and {key.start_mark.line + 1}"
                raise TypeError(f"{key.value} stands there twice ({lines})")
        return node


def name_classes_in_configuration(content: Any) -> Any:
    """Does to a configuration, or a part of one, what :func:`name_classes` does to the command line.

    Raises:
        TypeError: If it sets an argument of the model that follows from the data, or arguments are not where they belong.
    """
    if not isinstance(content, dict):
        return content
    content = _nest({key: name_classes_in_configuration(value) for key, value in content.items()})
    refuse_linked(content)
    for key in ("model", "data"):
        if isinstance(content.get(key), str) and not is_class_path(content[key]):
            content[key] = _as_class({"class_path": content[key]})
    return _as_class(content) if isinstance(content.get("class_path"), str) else content


def _nest(content: dict[str, Any]) -> dict[str, Any]:
    """Puts names with dots, such as ``data.init_args.image_size``, into the group that they belong to."""
    nested = {key: value for key, value in content.items() if str(key).partition(".")[0] not in GROUPS}
    for group in GROUPS:
        if group in content:
            nested[group] = content[group]
        dotted = {key: value for key, value in content.items() if str(key).startswith(f"{group}.")}
        if not dotted:
            continue
        if group != "trainer" and isinstance(nested.get(group), str):
            nested[group] = {"class_path": nested[group]}
        for key, value in dotted.items():
            path = key.split(".")[1:]
            if group != "trainer":
                path = [part for part in path if part != "init_args"] or ["init_args"]
                path = path if path[-1] in KEYWORDS else ["init_args", *path]
            _put(nested, [group, *path], key, value)
        whole = nested[group]
        if group != "trainer" and isinstance(whole.get("class_path"), str):
            nested[group] = _as_class(whole)
    if "trainer" in nested and nested["trainer"] is None:  # nothing, or comments alone, stands below it
        del nested["trainer"]
    return nested


def _put(settings: dict[str, Any], path: list[str], key: str, value: Any) -> None:
    *outer, last = path
    for part in outer:
        settings[part] = {} if settings.get(part) is None else settings[part]
        settings = settings[part]
        if not isinstance(settings, dict):
            raise TypeError(f"{key} stands beside {part}, which must then be settings by name, got {settings}")
    settings[last] = value


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
        refuse_linked({"model": content})
    if is_class_path(name) or class_name in options_by_class():
        return content
    with contextlib.suppress(ValueError):
        variant, network = find_in_catalogue(name)
        return _as_class({**content, "class_path": network.class_name, "init_args": {"variant": variant, **arguments}})
    with contextlib.suppress(ValueError):
        dataset = find_dataset(name)
        return {**content, "class_path": dataset.class_name, "init_args": {**dataset.arguments, **arguments}}
    return content  # a callback, a logger, or nothing that there is: the parser decides


def is_class_path(name: str) -> bool:
    """Whether a name is left to the parser: a class of another package, a file of settings, settings themselves."""
    is_file = name.lower().endswith((*SUFFIXES, *TABLES))
    looks_like_class = "." in name and not is_file and all(part.isidentifier() for part in name.split("."))
    looks_like_settings = name[:1] in "{[" or name.endswith(SETTINGS_SUFFIXES)
    return looks_like_settings or (looks_like_class and not expand(name).exists())


def refuse_linked(content: dict[str, Any]) -> None:
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
