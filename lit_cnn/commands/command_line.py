"""Options with their values, as typed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class Arguments:
    """Options with their values, in the order in which they were typed.

    Args:
        words: As in ``sys.argv``, without program and command.

    Raises:
        ValueError: If a word is neither an option nor the value of one.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.options: list[tuple[str, str | None]] = []
        for word in words:
            if word.startswith("--") or word in ("-c", "-h"):
                name, equals, value = word.partition("=")
                self.options.append((name, value if equals else None))
            elif self.options and self.options[-1][1] is None:
                self.options[-1] = (self.options[-1][0], word)
            else:
                raise ValueError(f"{word!r} belongs to no option: options begin with --, and take one value")

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.options]

    def values(self, *names: str) -> list[str]:
        """Every value of an option, whichever of its names was used."""
        return [value for name, value in self.options if name in names and value is not None]

    def last(self, *names: str) -> str | None:
        """The value that counts: the last one."""
        return next(reversed(self.values(*names)), None)

    def remove(self, *names: str) -> None:
        self.options = [option for option in self.options if option[0] not in names]

    def keep(self, *names: str) -> None:
        self.options = [option for option in self.options if option[0] in names]

    def put_first(self, **options: str | Path | None) -> None:
        """Puts options in front of all others, which override them."""
        self.options = [(f"--{name}", str(value)) for name, value in options.items() if value is not None] + self.options

    def replace(self, name: str, replacements: dict[str, str | None]) -> None:
        """Puts other options in the places of one."""
        changed: list[tuple[str, str | None]] = []
        for option in self.options:
            changed += replacements.items() if option[0] == name else [option]
        self.options = changed

    def put_behind_class(self, group: str) -> None:
        """Moves the arguments of a class behind the option that names it, which would reset them."""
        named = [number for number, (name, _) in enumerate(self.options) if name == f"--{group}"]
        if not named:
            return
        before, behind = self.options[: named[-1] + 1], self.options[named[-1] + 1 :]
        arguments = [option for option in before if option[0].startswith(f"--{group}.")]
        self.options = [option for option in before if option not in arguments] + arguments + behind

    def words(self) -> list[str]:
        return [name if value is None else f"{name}={value}" for name, value in self.options]
