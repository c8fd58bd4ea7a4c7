"""What a configuration may name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

# Packages whose classes a configuration may name, and the variable that adds others, with commas between them.
ALLOWED = (
    "lit_cnn",
    *(f"pytorch_lightning.{part}" for part in ("callbacks", "loggers", "plugins", "profilers", "strategies")),
    "pytorch_lightning.accelerators",
    "lightning_fabric.plugins",
)


ALLOW = "LIT_CNN_ALLOW"
# Set to 1, settings may name remote addresses and loggers that send data to a server.
ALLOW_REMOTE = "LIT_CNN_ALLOW_REMOTE"
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\",}\]]*")


def restrict_imports() -> None:
    """Lets configurations and options name classes of :data:`ALLOWED` packages alone; others are not even imported."""
    from jsonargparse import set_parsing_settings

    added = [name.strip() for name in os.environ.get(ALLOW, "").split(",") if name.strip()]
    set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=[*ALLOWED, *added],
        instantiate_subclass_spec_in_any=False,  # what may be anything is no place for a class
    )


def refuse_addresses(settings: Any, name: str = "") -> None:
    """Refuses addresses such as ``s3://…``: with them, a recipe could send data away or read other data than it says.

    Args:
        settings: A value, or settings by name, at any depth.
        name: Name of the setting.

    Raises:
        ValueError: At the first address.
    """
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            inner = name if key in ("init_args", "dict_kwargs") else f"{name}.{key}" if name else str(key)
            refuse_addresses(value, inner)
    elif isinstance(settings, list | tuple):
        for value in settings:
            refuse_addresses(value, name)
    elif match := _ADDRESS.search(str(settings)):
        kind = "an address" if match[0].lower().startswith("file:") else "a remote address"
        refuse_servers(f"{name}: {match[0]} is {kind}; use a local path")


def refuse_servers(problem: str) -> None:
    """Refuses what exchanges data with other machines, unless :data:`ALLOW_REMOTE` is set.

    Raises:
        ValueError: With the problem, and how to allow it.
    """
    if os.environ.get(ALLOW_REMOTE) != "1":
        raise ValueError(f"{problem}, or set the environment variable {ALLOW_REMOTE}=1 to allow it")
