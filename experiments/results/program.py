"""Runs commands of the program for the scripts that measure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def words_of(*arguments: object) -> list[str]:
    """``lit-cnn`` with arguments, for this environment."""
    return [sys.executable, "-m", "lit_cnn", *map(str, arguments)]


def run(*arguments: object) -> None:
    """Runs ``lit-cnn`` with arguments; its lines go to standard error.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    subprocess.run(words_of(*arguments), check=True, stdout=sys.stderr, cwd=ROOT)
