"""The parser of the commands whose options Lightning reads."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import yaml
from jsonargparse import get_loader, set_loader
from pytorch_lightning.cli import LightningArgumentParser

from lit_cnn.commands.configuration_file import UniqueLoader, name_classes_in_configuration
from lit_cnn.commands.messages import DEBUG, explain, refuse

# The way in which jsonargparse reads files and values: YAML, with names of variants and datasets for classes.
PARSER_MODE = "lit_cnn"


class Parser(LightningArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if ex is not None and os.environ.get(DEBUG):
            raise ex
        # The parser of a class's own arguments has one group, by its name.
        classes = list(self.groups or ())
        refuse(explain(message, classes[0] if len(classes) == 1 else None))


def read_short_names() -> None:
    """Registers :data:`PARSER_MODE`, in which files may name a variant or a dataset in place of a class."""
    set_loader(PARSER_MODE, _read_yaml, (yaml.YAMLError,))


def _read_yaml(text: str) -> Any:
    yaml.compose(text, UniqueLoader)  # refuses a name that stands twice
    return name_classes_in_configuration(get_loader("yaml")(text))
