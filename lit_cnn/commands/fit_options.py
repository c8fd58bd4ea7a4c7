"""The options of ``fit`` in commands that make no run: ``find-lr`` and ``show-batch``."""

from __future__ import annotations

from pathlib import Path

from lit_cnn.commands.arguments import prepare
from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.output import check_output
from lit_cnn.system.paths import expand

# Options of fit that such a command cannot follow.
NOT_TAKEN = (
    "--ckpt_path",
    "--compile",
    "--diagnose",
    "--early_stopping",
    "--ema",
    "--lr",
    "--monitor",
    "--name",
    "--print_config",
    "--run",
    "--runs_dir",
    "--save_every_minutes",
    "--save_every_steps",
    "--seeds",
    "--test_after_fit",
    "--time_limit",
    "--tta",
)


def prepare_fit(words: list[str], reason: str) -> list[str]:
    """Options of ``fit`` as :class:`lit_cnn.commands.cli.CLI` takes them.

    Args:
        words: As typed, without the command's own options.
        reason: Why some of them are refused, for the message.

    Raises:
        ValueError: If an option has no effect in such a command, or is no option of ``fit``.
    """
    typed = Arguments(words)
    if refused := next((name for name in typed.names if name in NOT_TAKEN), None):
        raise ValueError(f"{reason}: leave out {refused}")
    return prepare("fit", *words, may_resume_job=False)[1:]


def check_picture(given: str) -> Path:
    """Where ``--output`` means that the picture is written.

    Raises:
        ValueError: If no picture can be written there.
    """
    output = expand(given)
    if output.suffix.lower() != ".png":
        raise ValueError(f"--output is a picture, whose name ends in .png, got {given}")
    check_output(output)
    return output
