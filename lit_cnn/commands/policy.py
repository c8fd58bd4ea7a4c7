"""What a configuration may name."""

from __future__ import annotations

import os

# Packages whose classes a configuration may name, and the variable that adds others, with commas between them.
ALLOWED = (
    "lit_cnn",
    *(f"pytorch_lightning.{part}" for part in ("callbacks", "loggers", "plugins", "profilers", "strategies")),
    "pytorch_lightning.accelerators",
    "lightning_fabric.plugins",
)


ALLOW = "LIT_CNN_ALLOW"


def restrict_imports() -> None:
    """Lets configurations and options name classes of :data:`ALLOWED` packages alone; others are not even imported."""
    from jsonargparse import set_parsing_settings

    added = [name.strip() for name in os.environ.get(ALLOW, "").split(",") if name.strip()]
    set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=[*ALLOWED, *added],
        instantiate_subclass_spec_in_any=False,  # what may be anything is no place for a class
    )
