"""Files and folders that systems and programs leave among a user's own. Imports nothing heavy."""

from __future__ import annotations

# In lower case.
NAMES = frozenset(
    {
        "$recycle.bin",
        "@eadir",
        "__macosx",
        "__pycache__",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "lost+found",
        "network trash folder",
        "recycler",
        "system volume information",
        "temporary items",
        "thumbs.db",
    }
)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden: ``.DS_Store``, ``.ipynb_checkpoints``, ``._photo.jpg``."""
    return name.startswith(".")


def is_system(name: str) -> bool:
    """Whether a file or folder that is not hidden belongs to the system: ``__MACOSX``, ``Thumbs.db``."""
    return name.lower() in NAMES
