"""The settings of a command as a text that gives the same settings again."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser, Namespace

from lit_cnn.commands.options import LINKED
from lit_cnn.runs.monitor import FIRST_MONITOR, names_monitor

# Settings of a command, which are no part of the run that its configuration describes.
COMMAND_KEYS = ("config", "run", "runs_dir", "name", "seeds", "test_after_fit", "ckpt_path", "tta", "lr", "time_limit")


def describe(config: Namespace) -> dict[str, Any]:
    """The settings that describe a run, as plain values.

    Args:
        config: What the parser returned.
    """
    settings = _plain(config.clone(with_meta=False).as_dict())
    for argument in LINKED:
        settings["model"].get("init_args", {}).pop(argument, None)
    # Parts that follow from the preset are left out: there are many.
    arguments = settings["data"].get("init_args", {})
    if isinstance(augment := arguments.get("augment"), dict):
        given = {name: value for name, value in augment.items() if value is not None}
        arguments["augment"] = given["preset"] if given.keys() == {"preset"} else given
    return {key: value for key, value in settings.items() if key not in COMMAND_KEYS}


def parse(parser: ArgumentParser, text: str) -> dict[str, Any]:
    """The settings that a ``config.yaml`` gives, with the defaults of those that it leaves out.

    The best checkpoint of a run that names no monitor was judged by the first one there was.
    """
    settings = describe(parser.parse_string(text))
    return settings if names_monitor(text) else settings | {"monitor": FIRST_MONITOR}


def write(parser: ArgumentParser, settings: dict[str, Any]) -> str:
    """The text of a ``config.yaml``, with all settings and their nulls.

    Args:
        parser: Reads the text again, to compare.
        settings: What :func:`describe` returns.

    Raises:
        ValueError: If the text does not give these settings again; names the first that differs.
    """
    header = "".join(f"# {line}\n" for line in parser.dump_header or [])
    try:
        text = header + yaml.dump(settings, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
        with contextlib.redirect_stderr(io.StringIO()):
            again = parse(parser, text)
    except (yaml.YAMLError, SystemExit) as error:
        raise ValueError(f"these settings cannot be saved, so that they could be read again ({error})") from error
    for name in settings:
        difference = _find_difference(name, settings[name], again.get(name))
        if difference:
            raise ValueError(
                f"{difference} cannot be saved in config.yaml, so that it could be read again: give it as text or number"
            )
    return text


class _Dumper(yaml.SafeDumper):
    """Puts quotes around text that jsonargparse reads as a number, and YAML itself does not."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*)?\.?[\d_]*([eE][-+]?\d+)?$"),
    list("-+0123456789."),
)


def _plain(value: Any) -> Any:
    """A value as YAML has it."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value if isinstance(value, str) else value.name
    if isinstance(value, timedelta | Path | torch.device):
        return str(value)
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    return value


def _find_difference(name: str, value: Any, again: Any) -> str | None:
    """The name of the first setting that differs, None if there is none."""
    if isinstance(value, dict) and isinstance(again, dict) and value.keys() == again.keys():
        return next(filter(None, (_find_difference(f"{name}.{key}", value[key], again[key]) for key in value)), None)
    if isinstance(value, list) and isinstance(again, list) and len(value) == len(again):
        pairs = enumerate(zip(value, again, strict=True))
        return next(filter(None, (_find_difference(f"{name}.{index}", *pair) for index, pair in pairs)), None)
    same = value == again or (value != value and again != again)  # nan
    return None if same else name
