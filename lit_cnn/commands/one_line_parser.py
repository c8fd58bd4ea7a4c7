"""The parser of the commands whose options argparse reads; nothing heavy is imported for it."""

from __future__ import annotations

import argparse
import difflib
import re
from pathlib import Path
from typing import Any, NoReturn

from lit_cnn.commands.messages import refuse


class OneLineParser(argparse.ArgumentParser):
    """Reports an error in one line, and what an unknown option may have meant."""

    def error(self, message: str) -> NoReturn:
        known = [option for action in self._actions for option in action.option_strings]
        unknown = [word for word in re.findall(r"--[\w-]+", message) if word not in known]
        near = difflib.get_close_matches(unknown[0], known, n=1) if unknown else []
        hint = f"did you mean {near[0]}?" if near else f"see {self.prog} --help"
        refuse(f"{message}; {hint}")

    def parse_args(self, args: Any = None, namespace: Any = None) -> argparse.Namespace:
        """As usual, but arguments may stand on both sides of an option.

        An unknown option is reported before a missing one.
        """
        words = [word.partition("=")[0] for word in args or () if word.startswith("--")]
        known = {option for action in self._actions for option in action.option_strings}
        for word in words:
            if not any(option.startswith(word) for option in known):
                self.error(f"unknown option {word}")
        for word in args or ():
            if re.match("-[^-]", word) and word not in known and Path(word).exists():
                refuse(f"{word} begins as an option does: write ./{word} for the file")
        if "--" in (args or ()):  # which argparse reads only in this way
            return super().parse_args(args, namespace)
        return super().parse_intermixed_args(args, namespace)
