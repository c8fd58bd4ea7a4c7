"""Optional packages, and the command that installs what is missing."""

from __future__ import annotations

import importlib.util

# The packages of each extra of pyproject.toml, by the name that is imported.
EXTRAS = {
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("openvino",),
    "explain": ("captum",),
    "serve": ("litserve", "python_multipart"),
    "labels": ("cleanlab",),
    "parquet": ("pyarrow",),
}


def require_extra(extra: str, purpose: str, packages: tuple[str, ...] = ()) -> None:
    """Checks that optional packages are installed, before any work is done. Imports none of them.

    Args:
        extra: A key of :data:`EXTRAS`.
        purpose: What needs them, for the message: ``--format onnx``.
        packages: Those that are needed; all of the extra if not given.

    Raises:
        ValueError: If one is missing; has the command that installs it.
    """
    missing = [package for package in packages or EXTRAS[extra] if importlib.util.find_spec(package) is None]
    if missing:
        needed = missing[0] if len(missing) == 1 else f"{', '.join(missing[:-1])} and {missing[-1]}"
        raise ValueError(f"{purpose} needs {needed}: make extras, or pip install '.[{extra}]' in the clone of lit_cnn")
