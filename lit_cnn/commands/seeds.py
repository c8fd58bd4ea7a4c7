"""``lit-cnn fit --seeds``: trains a recipe once for each seed, and says how much the seeds differ."""

from __future__ import annotations

import gc
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from lit_cnn.analysis.images import accuracy_interval
from lit_cnn.analysis.statistics import mean_interval
from lit_cnn.commands import configuration, evaluate
from lit_cnn.commands.arguments import prepare
from lit_cnn.commands.cli import CLI
from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.fit import FINDER_NAMES, Training, carry_out
from lit_cnn.commands.messages import FAILED, in_one_line, quiet
from lit_cnn.commands.resuming import warn
from lit_cnn.commands.seed_options import read_seeds
from lit_cnn.commands.tables import print_table
from lit_cnn.commands.trainer_options import as_list
from lit_cnn.data.manifest import FILE_NAME
from lit_cnn.data.sharing import sharing_images
from lit_cnn.errors import Interrupted, TrainingError
from lit_cnn.runs.folder import Run
from lit_cnn.runs.identity import Rule, digest_of_settings, find_changes, rule_of
from lit_cnn.runs.search import is_run
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.training.origin import variant_of

# The setting in which the runs of a study differ.
SEED = "seed_everything"
# Options that name what is trained. A run that is resumed has its own.
_OF_A_NEW_RUN = ("--config", "--name", "--runs_dir")
TITLES = {"val": "validation accuracy", "test": "test accuracy"}


def main(arguments: list[str]) -> int:
    """Trains once for each seed and returns the exit status: 1 if a training has diverged.

    The same command skips the runs that are finished, and resumes those that were stopped.
    """
    quiet()
    keep_freed_memory()
    options = Arguments(arguments[1:])
    seeds = read_seeds(options.last("--seeds") or "")
    options.remove("--seeds")
    diverged: list[int] = []
    with sharing_images():
        study = Study(options)
        study.check_runs()
        try:
            for number, seed in enumerate(seeds, 1):
                title = f"seed {seed} ({number} of {len(seeds)})"
                if study.is_finished(seed):
                    print(f"{title}: finished already, {study.run_of(seed).path}", flush=True)
                    continue
                print(f"\n{title}", flush=True)
                try:
                    study.train(seed)
                except TrainingError as error:
                    diverged.append(seed)
                    warn(f"seed {seed}: {in_one_line(str(error))}")
        except (SystemExit, KeyboardInterrupt) as stopped:
            # Lightning answers Ctrl-C, where it gets it, with the status of a failure.
            if isinstance(stopped, Interrupted) or KeyboardInterrupt in (type(stopped), type(stopped.__context__)):
                print(f"stopped; resume with: {shlex.join(['lit-cnn', *sys.argv[1:]])}", flush=True)
            raise
    print_study({seed: study.run_of(seed) for seed in seeds if seed not in diverged}, study.folder)
    if diverged:
        warn(f"{len(diverged)} of {len(seeds)} seeds diverged: {', '.join(map(str, diverged))}")
    return FAILED if diverged else 0


class Study(CLI):
    """Runs that differ in the seed alone, in one folder.

    It is named by the user, or by the settings: those that give other weights have another folder.

    Args:
        options: Of ``fit``, without the seeds.
    """

    def __init__(self, options: Arguments) -> None:
        super().__init__("fit", options.words())
        self.options = options
        trainer = self.config.trainer
        if trainer.fast_dev_run:
            raise ValueError("fast_dev_run keeps no run, and --seeds compares runs: leave one of them out")
        finders = [one.class_path.rpartition(".")[2] for one in as_list(trainer.callbacks)]
        if finder := next((name for name in finders if name in FINDER_NAMES), None):
            raise ValueError(f"{finder} would find another value for each seed: find it once, and give it with --seeds")
        self.settings = configuration.describe(self.config)
        self.name = self.config.name or f"seeds-{digest_of_settings(self.settings, without=SEED)}"
        self._place = self.config.runs_dir, self.datamodule.name, variant_of(self.model)
        self.folder = self.run_of(0).path.parent
        del self.model, self.datamodule, self.config_init

    def run_of(self, seed: int) -> Run:
        """The run of a seed, which need not exist."""
        return Run.of_seed(*self._place, self.name, seed)

    @property
    def runs(self) -> list[Run]:
        """Those that there are."""
        return [Run(path) for path in sorted(self.folder.glob("seed-*")) if is_run(path)]

    def check_runs(self) -> None:
        """Checks that the runs that are there are of the same settings.

        Raises:
            ValueError: If one is not; names the setting. If the folder is a run itself.
        """
        if is_run(self.folder):
            raise ValueError(f"{self.folder} is a run, and no folder of several: choose another --name")
        for run in self.runs:
            run.check_format()
            own = configuration.parse(self.parser, run.config.read_text(encoding="utf-8"))
            given = self.settings | {SEED: own[SEED], "trainer": dict(self.settings["trainer"])}
            if given["trainer"]["precision"] == "auto":
                given["trainer"]["precision"] = own["trainer"]["precision"]
            fixed = [change for change in find_changes(own, given) if change.rule is not Rule.FREE]
            if fixed:
                raise ValueError(f"{fixed[0].setting} of {run.path} {fixed[0]}: choose another --name")

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
            words = ("test", "--run", str(run.path))
            with _command(words):
                evaluate.main(prepare(*words))

    def _train(self, seed: int, run: Run) -> None:
        if is_run(run.path):
            kept = [option for option in self.options.options if _may_change(option[0])]
            resumed = Arguments(())
            resumed.options = [("--run", str(run.path)), *kept]
            typed, words = resumed.words(), prepare("fit", *resumed.words())[1:]
        else:
            own = Arguments(sys.argv[2:])
            own.remove("--seeds", "--name")
            typed, words = [*own.words(), f"--{SEED}={seed}"], [*self.options.words(), f"--{SEED}={seed}"]
        with _command(("fit", *typed)):
            training = OfStudy(words, run, self.runs)
            carry_out(training)
            for process in getattr(training.trainer.strategy.launcher, "procs", ()):
                process.wait()
        del training
        gc.collect()  # the network and its images on a GPU


class OfStudy(Training):
    """The training of a study with one seed.

    Args:
        arguments: Its options.
        place: The run.
        others: Runs of other seeds that are there.
    """

    finds_its_folder = True

    def __init__(self, arguments: list[str], place: Run, others: Sequence[Run]) -> None:
        self._study_run, self._others = place, others
        super().__init__(arguments)

    def _make_folder(self) -> Run:
        self._study_run.path.mkdir(parents=True, exist_ok=True)  # a killed process may have made it
        return self._study_run

    def _describe(self) -> None:
        for other in self._others:
            manifest = other.path / FILE_NAME
            digest = json.loads(manifest.read_text(encoding="utf-8")).get("digest") if manifest.is_file() else None
            if digest not in (None, self.datamodule.digest):
                raise ValueError(f"the images are not those of {other.path}: choose another --name for a new study")
        super()._describe()

    def _print_how_to_resume(self) -> None:
        """The study says it."""


def _may_change(option: str) -> bool:
    name = option.lstrip("-").replace(".init_args", "")
    return option not in _OF_A_NEW_RUN and name != "c" and rule_of(name) is Rule.FREE


@contextmanager
def _command(words: Sequence[str]) -> Iterator[None]:
    """What is done in this context is what a command does: so the processes for other devices are started.

    Afterwards, this process is alone again.
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


# Results


def print_study(runs: Mapping[int, Run], folder: Path) -> None:
    """Prints the accuracies of each seed, their mean, standard deviation and interval.

    Args:
        runs: The finished run of each seed.
        folder: Their folder.
    """
    results = {seed: run.read_results() for seed, run in runs.items()}
    shown = {split: title for split, title in TITLES.items() if any(f"{split}/acc" in of for of in results.values())}
    rows = [
        (str(seed), *(f"{of[key]:.2%}" if key in of else "-" for key in (f"{split}/acc" for split in shown)))
        for seed, of in results.items()
    ]
    print()
    if rows:
        print_table(("seed", *shown.values()), rows, right=("seed", *shown.values()))
        print()
    facts = [(title, describe_accuracies(list(runs.values()), split)) for split, title in shown.items()]
    print_table(("", ""), [*facts, ("folder of the runs", str(folder))])


def describe_accuracies(runs: Sequence[Run], split: str) -> str:
    """Mean, standard deviation and interval over seeds; of one seed, the interval over images."""
    key = f"{split}/acc"
    known = [(results[key], run) for run in runs if key in (results := run.read_results())]
    accuracies = [accuracy for accuracy, _ in known]
    if len(known) > 1:
        interval = mean_interval(accuracies)
        ends = f"95 % interval {interval.low:.2%} to {interval.high:.2%}"
        return f"{interval.value:.2%} ± {np.std(accuracies, ddof=1):.2%} (mean ± sd of {len(known)} seeds, {ends})"
    ((accuracy, run),) = known
    try:
        predictions = run.read_predictions(split)
    except ValueError:  # a validation of some images, or a full disk
        return f"{accuracy:.2%} (one seed)"
    interval, images = accuracy_interval(predictions), f"{len(predictions):,} images"
    return f"{accuracy:.2%} (one seed, 95 % interval over {images} {interval.low:.2%} to {interval.high:.2%})"
