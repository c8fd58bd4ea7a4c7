"""The C++ compiler that torch needs to compile networks."""

from __future__ import annotations

import os
import shutil


def compiler_names() -> list[str]:
    """What torch looks for: the variable ``CXX`` alone if it is set."""
    return [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++", "cl"]


def has_compiler() -> bool:
    """Whether one of :func:`compiler_names` is on this machine."""
    return any(map(shutil.which, compiler_names()))


def require_compiler(purpose: str) -> None:
    """Checks that there is a C++ compiler, before any work is done.

    Args:
        purpose: What needs it, for the message.

    Raises:
        ValueError: If there is none.
    """
    if not has_compiler():
        raise ValueError(f"{purpose} needs a C++ compiler, but there is no {' or '.join(compiler_names())} on this machine")
