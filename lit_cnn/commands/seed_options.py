"""The seeds of ``lit-cnn fit --seeds``, and what does not go with them; nothing heavy is imported for it."""

from __future__ import annotations

import os
import re

from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.resuming import RUN_FOLDER
from lit_cnn.system.processes import started_by_a_launcher

MAX_SEED = 2**32 - 1  # numpy's
# So many seeds are more than anybody trains; a larger number is meant for one seed.
MAX_NUMBER = 1000
# Options that name one run or one seed, with what to do.
_OF_ONE_RUN = {
    "--run": "it trains new runs: leave out --run",
    "--ckpt_path": "it trains new runs: leave out --ckpt_path",
    "--seed_everything": "it names the seeds: leave out --seed_everything",
}


def read_seeds(text: str) -> list[int]:
    """The seeds that a user means: ``5`` are 0 to 4, ``0,3,7`` are these.

    Raises:
        ValueError: If the text is neither a number of seeds nor a list of different seeds.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]+", part) for part in parts):
        raise ValueError(f"--seeds {text}: expected a number of seeds, such as 5, or a list of seeds, such as 0,3,7")
    numbers = [int(part) for part in parts]
    if len(numbers) > 1:
        twice = next((number for number in numbers if numbers.count(number) > 1), None)
        if twice is not None:
            raise ValueError(f"--seeds {text}: {twice} stands there twice; give each seed once")
        if max(numbers) > MAX_SEED:
            raise ValueError(f"--seeds {text}: a seed is a whole number from 0 to {MAX_SEED}")
        return numbers
    if not 1 <= numbers[0] <= MAX_NUMBER:
        raise ValueError(f"--seeds {text}: expected 1 to {MAX_NUMBER} seeds; one seed by its number is --seed_everything N")
    return list(range(numbers[0]))


def check_seeds(command: str, arguments: Arguments) -> None:
    """Refuses ``--seeds`` where it makes no sense.

    Raises:
        ValueError: If the seeds are none, or the command trains one run or none.
    """
    if "--seeds" not in arguments.names:
        return
    if command != "fit":
        raise ValueError("--seeds trains new runs: only fit takes it")
    read_seeds(arguments.last("--seeds") or "")
    for option, reason in _OF_ONE_RUN.items():
        if option in arguments.names:
            raise ValueError(f"--seeds does not go with {option}: {reason}")
    if started_by_a_launcher():
        raise ValueError("--seeds starts its own processes: below torchrun or SLURM, give each job its --seed_everything")
    if RUN_FOLDER in os.environ:
        raise ValueError(f"--seeds makes a folder for each seed: unset {RUN_FOLDER}")
