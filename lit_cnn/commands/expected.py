"""Which test accuracy a recipe expects of the training that begins."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lit_cnn.benchmark.bands import Expectation, digest_of_all
from lit_cnn.commands import configuration
from lit_cnn.commands.cli import CLI
from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.selection import resolve_monitor
from lit_cnn.commands.settings import choose_image_size
from lit_cnn.data import ImageDataModule
from lit_cnn.data.names import OWN_IMAGES
from lit_cnn.runs.folder import Run
from lit_cnn.runs.identity import Rule, find_changes

SEED = "seed_everything"
# A resumed run may change these. The test accuracy may then be one of other images, or of a shorter training.
_DECISIVE = frozenset(
    {
        "data.on_bad_image",
        "data.table",
        "trainer.callbacks",
        "trainer.limit_test_batches",
        "trainer.max_time",
    }
)
PRECISION = "trainer.precision"


def find_expectation(cli: CLI) -> tuple[str, Expectation] | None:
    """The recipe of a training, as it was typed, and what it expects.

    Args:
        cli: With the settings of ``fit``. If a trial has chosen the precision, it differs from the recipe's.
    Returns:
        None if there is no recipe, if it has no band, or if the training differs from it in what decides the accuracy.
    """
    config = cli.config
    files, typed = _configurations(config)
    if len(files) != 1:
        return None
    try:
        text = Path(files[0]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):  # a text with settings, or a file that a resumed run has no more
        return None
    expectation = Expectation.read(text)
    if expectation is None:
        return None
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            own = cli.parser.parse_string(text)
    except SystemExit:  # a recipe that has changed since the run began
        return None
    choose_image_size(own)
    resolve_monitor(own)
    if config.run and own.trainer.precision == "auto" and PRECISION not in typed:
        own.trainer.precision = config.trainer.precision  # which the run chose when it began
    changes = find_changes(configuration.describe(own), configuration.describe(config))
    # A folder of images decides too, unless the digest of its images will tell whether they are the recipe's.
    folder_decides = own.data.class_path.rpartition(".")[2] in OWN_IMAGES and expectation.digest is None
    decisive = _DECISIVE | ({"data.data_dir"} if folder_decides else set())
    same = all(change.setting == SEED or (change.rule is Rule.FREE and change.setting not in decisive) for change in changes)
    return (files[0], expectation) if same else None


def _configurations(config: Any) -> tuple[list[str], set[str]]:
    """The files of settings with which the run began, and the names of the options that were typed then."""
    if not config.run:
        return [str(path) for path in config.config or []], set()
    environment = Run(config.run).read_environment()
    first = (environment.get("earlier") or [environment])[0]
    if first.get("command", [])[1:2] != ["fit"]:
        return [], set()
    typed = Arguments(first.get("command", [])[2:])
    return typed.values("--config", "-c"), {name.lstrip("-") for name in typed.names}


def print_comparison(expected: tuple[str, Expectation] | None, results: Mapping[str, float], data: ImageDataModule) -> None:
    """Prints whether a test accuracy lies in the band of the recipe, if both are known, and of the same images.

    Args:
        expected: What :func:`find_expectation` returned.
        results: Values by name, as in ``test/acc``.
        data: What was trained and tested on.
    """
    if expected and "test/acc" in results:
        recipe, expectation = expected
        if expectation.digest is None or expectation.digest == digest_of_all(data.digest, data.test_digest or ""):
            print(expectation.judge(results["test/acc"], recipe))
