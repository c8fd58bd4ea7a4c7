"""The runs of ``lit-cnn fit --seeds``: where they are, what they have in common, and how each is trained."""

from __future__ import annotations

import gc
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch

from lit_cnn.commands import configuration, evaluate
from lit_cnn.commands.arguments import prepare
from lit_cnn.commands.cli import CLI
from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.evaluation_options import is_of_fit_alone
from lit_cnn.commands.fit import Training, carry_out
from lit_cnn.commands.selection import warn_of_last_weights
from lit_cnn.commands.trainer_options import as_list
from lit_cnn.data.manifest import FILE_NAME
from lit_cnn.data.module import ImageDataModule
from lit_cnn.errors import Interrupted
from lit_cnn.runs.folder import Run
from lit_cnn.runs.identity import Rule, digest_of_settings, find_changes, rule_of
from lit_cnn.runs.results import leaves_batches_out
from lit_cnn.runs.search import is_run
from lit_cnn.runs.study import add_wanted_seeds, runs_of_study
from lit_cnn.system.json_files import read_object
from lit_cnn.training.callbacks.finders import FINDER_NAMES
from lit_cnn.training.origin import variant_of

# The setting in which the runs of a study differ.
SEED = "seed_everything"
# Options that name what is trained. A run that is resumed has its own.
_OF_A_NEW_RUN = ("--config", "--name", "--runs_dir")


class Study(CLI):
    """Runs that differ in the seed alone, in one folder.

    It is named by the user, or by the settings: those that give other weights have another folder.

    Args:
        options: Of ``fit``, without the seeds.
        seeds: The seeds that are wanted now.
    """

    def __init__(self, options: Arguments, seeds: Sequence[int]) -> None:
        super().__init__("fit", options.words())
        warn_of_last_weights(self.config, options)
        self.options = options
        self.seeds = seeds
        trainer = self.config.trainer
        if trainer.fast_dev_run:
            raise ValueError("fast_dev_run keeps no run, and --seeds compares runs: leave one of them out")
        limit = trainer.limit_test_batches
        if self.config.test_after_fit and leaves_batches_out(limit):
            raise ValueError(f"--seeds compares whole tests: leave out limit_test_batches={limit}, or test_after_fit")
        finders = [one.class_path.rpartition(".")[2] for one in as_list(trainer.callbacks)]
        if finder := next((name for name in finders if name in FINDER_NAMES), None):
            raise ValueError(f"{finder} would find another value for each seed: find it once, and give it with --seeds")
        self.settings = configuration.describe(self.config)
        self.name = self.config.name or f"seeds-{digest_of_settings(self.settings, without=SEED)}"
        self._place = self.config.runs_dir, self.datamodule.name, variant_of(self.model)
        self.folder = self.run_of(0).path.parent
        # All runs have the threads of the first: their number decides how sums are rounded.
        self.threads: int | Literal["auto"] = self.config.threads
        # Likewise their precision, if the first one chose it.
        self.precision: str | None = None
        if is_run(self.folder):
            raise ValueError(f"{self.folder} is a run, and no folder of several: choose another --name")
        if self.runs:
            self.datamodule.prepare_data()  # another machine may not have the images yet
        check_images(self.runs, self.datamodule)
        del self.model, self.datamodule, self.config_init

    def run_of(self, seed: int) -> Run:
        """The run of a seed, which need not exist."""
        return Run.of_seed(*self._place, self.name, seed)

    @property
    def runs(self) -> list[Run]:
        """Those that there are."""
        return runs_of_study(self.folder)

    def check_runs(self) -> None:
        """Checks that the runs that are there are of the same settings, and takes their threads and their precision.

        Raises:
            ValueError: If one is not; names the setting.
        """
        for run in self.runs:
            run.check_format()
            own = configuration.parse(self.parser, run.config.read_text(encoding="utf-8"))
            given = self.settings | {SEED: own[SEED], "trainer": dict(self.settings["trainer"])}
            if given["trainer"]["precision"] == "auto":
                given["trainer"]["precision"] = own["trainer"]["precision"]
            fixed = [change for change in find_changes(own, given) if change.rule is not Rule.FREE]
            if fixed:
                raise ValueError(f"{fixed[0].setting} of {run.path} {fixed[0]}: choose another --name")
            if self.threads == "auto":
                self.threads = own["threads"]
            if self.config.trainer.precision == "auto":
                self.precision = own["trainer"]["precision"]
        if self.runs:
            add_wanted_seeds(self.folder, self.seeds)

    def is_finished(self, seed: int) -> bool:
        """Whether the run of a seed is trained to its end, and tested if that is wanted."""
        wanted = {"seconds", *(["test/acc"] if self.config.test_after_fit else [])}
        return wanted <= self.run_of(seed).read_results().keys()

    def train(self, seed: int) -> None:
        """Trains with a seed what is left to train, and looks at the test images if that is wanted.

        Raises:
            TrainingError: If the training diverges. On several devices, the other processes then end this one.
        """
        run = self.run_of(seed)
        if "seconds" not in run.read_results():
            self._train(seed, run)
        else:
            test = self._of(run)
            test.options = [option for option in test.options if not is_of_fit_alone(option[0])]
            with as_command(("test", *test.words())):
                evaluate.main(prepare("test", *test.words()))

    def _of(self, run: Run) -> Arguments:
        """The options for a run that is there: its own settings, and those that were typed now and may change."""
        options = Arguments(())
        options.options = [("--run", str(run.path)), *(one for one in self.options.options if _may_change(one[0]))]
        return options

    def _train(self, seed: int, run: Run) -> None:
        if is_run(run.path):
            resumed = self._of(run)
            if self.config.test_after_fit and "--test_after_fit" not in resumed.names:  # a recipe says it, a run does not
                resumed.options.append(("--test_after_fit", None))
            typed, words = resumed.words(), prepare("fit", *resumed.words())[1:]
        else:
            own = Arguments(sys.argv[2:])
            own.remove("--seeds", "--name")
            added = [f"--{SEED}={seed}", f"--threads={self.threads}"]
            added += [f"--trainer.precision={self.precision}"] if self.precision else []
            typed, words = [*own.words(), *added], [*self.options.words(), *added]
        with as_command(("fit", *typed)):
            training = OfStudy(words, run, self)
            self.threads = training.config.threads
            carry_out(training)
            for process in getattr(training.trainer.strategy.launcher, "procs", ()):
                process.wait()
        del training
        gc.collect()  # the network and its images on a GPU


class OfStudy(Training):
    """The training of a study with one seed. If it diverges, its folder stays.

    Args:
        arguments: Its options.
        place: The run.
        study: The study.
    """

    finds_its_folder = keeps_diverged = True

    def __init__(self, arguments: list[str], place: Run, study: Study) -> None:
        self._study_run, self._study = place, study
        super().__init__(arguments)

    def _make_folder(self) -> Run:
        self._study_run.path.mkdir(parents=True, exist_ok=True)  # a killed process may have made it
        return self._study_run

    def _describe(self) -> None:
        check_images(self._study.runs, self.datamodule)
        super()._describe()
        add_wanted_seeds(self._study.folder, self._study.seeds)

    def _print_how_to_resume(self) -> None:
        """The study does it."""


def check_images(runs: Iterable[Run], data: ImageDataModule) -> None:
    """Checks that runs were trained and tested on the images of a data module, as far as both are known.

    Raises:
        ValueError: If one was not, or its manifest is damaged.
    """
    for run in runs:
        manifest = run.path / FILE_NAME
        if not manifest.is_file():
            continue
        kept = read_object(manifest)
        for key in ("digest", "test_digest"):
            known, current = kept.get(key), getattr(data, key)
            if None not in (known, current) and known != current:
                raise ValueError(f"the images are not those of {run.path}: choose another --name for a new study")


def _may_change(option: str) -> bool:
    name = option.lstrip("-").replace(".init_args", "")
    return option not in _OF_A_NEW_RUN and name != "c" and rule_of(name) is Rule.FREE


@contextmanager
def telling_how_to_resume() -> Iterator[None]:
    """If Ctrl-C or a signal stops several trainings, prints the command that resumes them."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as stopped:
        # Lightning answers Ctrl-C, where it gets it, with the status of a failure.
        if isinstance(stopped, Interrupted) or KeyboardInterrupt in (type(stopped), type(stopped.__context__)):
            print(f"stopped; resume with: {shlex.join(['lit-cnn', *sys.argv[1:]])}", flush=True)
        raise


@contextmanager
def as_command(words: Sequence[str]) -> Iterator[None]:
    """What is done in this context is what a command does: so the processes for other devices are started.

    Afterwards, this process is alone again.

    Args:
        words: The command and its options.
    """
    before, environment = sys.argv, dict(os.environ)
    sys.argv = [before[0], *words]
    try:
        yield
    finally:
        sys.argv = before
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
