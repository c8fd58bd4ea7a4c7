"""Where ``--lr auto`` and ``--time_limit``, whose answers are measured before a training, and ``--tta`` make no sense."""

from __future__ import annotations

import re

from lit_cnn.commands.command_line import Arguments

# A limit in hours, minutes and seconds.
_TIME = re.compile(r"(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_LENGTHS = ("--trainer.max_epochs", "--trainer.max_steps", "--trainer.max_time")
_RATES = ("--model.lr", "--model.init_args.lr")


def read_time_limit(text: str) -> int:
    """Seconds of a limit such as ``90s``, ``20m`` or ``1h30m``.

    Raises:
        ValueError: If it is none.
    """
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise ValueError(f"--time_limit must be a time such as 90s, 20m or 1h30m, got {text}")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def check_trial_options(command: str, arguments: Arguments) -> None:
    """Refuses ``--lr``, ``--time_limit`` and ``--tta`` where they have no effect.

    Raises:
        ValueError: At the first; says what to give.
    """
    names = set(arguments.names)
    if command == "fit" and "--tta" in names:
        raise ValueError("fit evaluates without test-time augmentation: give --tta to lit-cnn test, validate or predict")
    given = sorted(names & {"--lr", "--time_limit"})
    if given and command != "fit":
        raise ValueError(f"{given[0]} is an option of lit-cnn fit alone: leave it out")
    if given and names & {"--run", "--ckpt_path"}:
        option = "--lr auto" if given[0] == "--lr" else given[0]
        raise ValueError(f"{option} works only in a new training: leave it out")
    if "--lr" in names:
        _check_rate(arguments)
    if "--time_limit" in names:
        _check_time_limit(arguments)


def _check_rate(arguments: Arguments) -> None:
    value = arguments.last("--lr")
    if value != "auto":
        raise ValueError(f"--lr takes the word auto alone: a rate is --model.lr {'X' if value is None else value}")
    if both := next((name for name in _RATES if name in arguments.names), None):
        raise ValueError(f"--lr auto finds the rate that {both} gives: leave one of them out")
    if "--seeds" in arguments.names:
        raise ValueError("--lr auto would find a rate for each seed: find one with lit-cnn find-lr, and give --model.lr")


def _check_time_limit(arguments: Arguments) -> None:
    seconds = read_time_limit(arguments.last("--time_limit") or "")
    if seconds == 0:
        raise ValueError("--time_limit is 0: nothing would be trained; give a longer time, such as 20m")
    if both := next((name for name in _LENGTHS if name in arguments.names), None):
        raise ValueError(f"--time_limit sets the number of epochs, and {both} a length too: leave one of them out")
    if "--seeds" in arguments.names:
        raise ValueError("--time_limit would give each seed its own number of epochs: give --trainer.max_epochs")
