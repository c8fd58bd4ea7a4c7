"""The C++ compiler that torch needs to compile networks."""

from __future__ import annotations

import os
import shlex
import shutil
import sys


def compiler_name() -> str:
    """The compiler that torch starts: that of the variable ``CXX``, else the usual one of the system."""
    return shlex.split(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))[0]


def has_compiler() -> bool:
    """Whether it is on this machine. On Windows torch looks for Visual C++ itself, in places that only it knows."""
    return sys.platform == "win32" or shutil.which(compiler_name()) is not None


def require_compiler(purpose: str) -> None:
    """Checks that there is a C++ compiler, before any work is done.

    Args:
        purpose: What needs it, for the message.

    Raises:
        ValueError: If there is none.
    """
    if not has_compiler():
        name = compiler_name()
        raise ValueError(f"{purpose} needs a C++ compiler, but there is no {name}: install one, or name it in CXX")
