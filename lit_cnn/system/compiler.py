"""The C++ compiler that torch needs to compile networks."""

from __future__ import annotations

import os
import shutil


def require_compiler(purpose: str) -> None:
    """Checks that there is a C++ compiler, before any work is done.

    Args:
        purpose: What needs it, for the message.

    Raises:
        ValueError: If there is none.
    """
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++", "cl"]
    if not any(map(shutil.which, names)):
        raise ValueError(f"{purpose} needs a C++ compiler, but there is no {' or '.join(names)} on this machine")
