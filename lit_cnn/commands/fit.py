"""``lit-cnn fit``: trains a network and keeps everything of the training in a folder."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from pytorch_lightning.callbacks import Callback, ProgressBar
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.plugins.environments import SLURMEnvironment

from lit_cnn.commands import configuration
from lit_cnn.commands.cli import CLI, PRECISION
from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.evaluate import ignore_evaluation_warnings
from lit_cnn.commands.expected import find_expectation, print_comparison
from lit_cnn.commands.messages import in_one_line, quiet
from lit_cnn.commands.monitors import check_monitors
from lit_cnn.commands.output import raise_on_signals
from lit_cnn.commands.own_warnings import ignore_own_warnings
from lit_cnn.commands.resumed import ResumedRun
from lit_cnn.commands.resuming import LAUNCHER, RUN_FOLDER, is_restarted_job, warn
from lit_cnn.commands.selection import make_selection, warn_of_last_weights
from lit_cnn.commands.trainer_options import as_list
from lit_cnn.commands.trials import answer_options
from lit_cnn.data.manifest import FILE_NAME
from lit_cnn.errors import Interrupted, TrainingError
from lit_cnn.inference.confidence import keep_confidence
from lit_cnn.runs.checkpoint_file import peek, read_checkpoint
from lit_cnn.runs.folder import DIVERGED, Run
from lit_cnn.runs.lock import RunLock
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.system.paths import quoted
from lit_cnn.system.processes import end_with_parent, handing_on, is_first_process, read_number, started_by_a_launcher
from lit_cnn.system.processors import NUM_THREADS
from lit_cnn.system.whole_files import put_in_place, write_whole
from lit_cnn.training.callbacks.averaging import averages_that_never_began
from lit_cnn.training.callbacks.checkpointing import Best, Last
from lit_cnn.training.callbacks.dashboard import Dashboard
from lit_cnn.training.callbacks.finders import FINDER_NAMES
from lit_cnn.training.callbacks.interrupts import Interrupts
from lit_cnn.training.callbacks.introduction import Introduction
from lit_cnn.training.callbacks.looks import LookRecorder
from lit_cnn.training.callbacks.progress import progress_bar
from lit_cnn.training.callbacks.record import Recorder
from lit_cnn.training.callbacks.resume import was_stopped_early
from lit_cnn.training.class_scores import ClassScores
from lit_cnn.training.origin import Origin, variant_of
from lit_cnn.training.run_logger import RunLogger


def main(arguments: list[str]) -> int:
    """Trains and returns the exit status."""
    quiet()
    keep_freed_memory()
    # Until training begins and handles signals itself, they leave no folder behind. A peer process makes none.
    with contextlib.nullcontext() if LAUNCHER in os.environ else raise_on_signals():
        carry_out(Training(arguments[1:]))
    return 0


def carry_out(training: Training) -> None:
    """Trains, looks at the test images if that is wanted, and prints the results."""
    try:
        training.train()
        if training.run and training.recorder.trained and training.trainer.is_global_zero:
            keep_confidence(training.run)
        results = training.recorder.training_results(training.trainer)
        if training.config.test_after_fit and training.run:
            results |= training.test()
        elif training.config.test_after_fit and training.trainer.is_global_zero:
            print("fast_dev_run looks at no test images: --test_after_fit is left out")
        training.report(results, training.run.checkpoint if training.run else None)
        if training.trainer.is_global_zero:
            print_comparison(training.expected, results, training.datamodule)
    finally:
        training.unlock()


class Training(CLI):
    """A training: settings, data and network (:class:`CLI`), then the folder, the Trainer, the training itself.

    Args:
        arguments: Options of the command.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.started_by_peer = LAUNCHER in os.environ
        if self.started_by_peer:
            end_with_parent(read_number(LAUNCHER, least=1))
        self.resumed: ResumedRun | None = None
        super().__init__("fit", arguments)
        if not (self.resumed or self.finds_its_folder):
            warn_of_last_weights(self.config, Arguments(arguments))
        if checkpoint := self.config.ckpt_path:
            # The Trainer compares them too, but not before its logger has written.
            Origin.of(peek(checkpoint), checkpoint).check(self.datamodule, "fit", with_digest=False)
            self.datamodule.check_images("fit")
        if self.config.test_after_fit and not self.config.trainer.fast_dev_run:
            self.datamodule.check_images("test")
        trainer = self.config_init.trainer
        check_monitors(as_list(trainer.callbacks), self.model, trainer.limit_val_batches != 0)
        self.notes = answer_options(self)
        self.expected = find_expectation(self) if self.config.test_after_fit else None
        self.made_folder = False
        self.lock: RunLock | None = None
        configuration.write(self.parser, configuration.describe(self.config))  # before anything is made
        self.run = self._find_folder()
        try:
            if self.run and is_first_process():
                self.lock = RunLock(self.run.path)
            self.recorder = Recorder(self.run, self._describe, self.resumed.changes if self.resumed else ())
            self.trainer = self.make_trainer(self._make_callbacks(), **self._make_settings())
        except BaseException as error:  # Ctrl-C too must leave no empty folder
            if self.made_folder and self.run and not self.lock and isinstance(error, OSError):  # nobody can lock it
                self.run.discard_unless_begun()
            self._discard_folder()
            self.unlock()
            raise

    # Settings

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Refuses, in a resumed run, settings that cannot change."""
        super().parse_arguments(parser, args)
        if self.config.run and self.config.ckpt_path:
            self.resumed = ResumedRun(parser, self.config)

    # Folder

    # Whether the same command, given again, finds the folder that it has made.
    finds_its_folder = False
    # Whether the folder stays if the training diverges in its first epoch.
    keeps_diverged = False

    def _find_folder(self) -> Run | None:
        """The folder of the run: of an earlier one, the one that a launcher names, or a new one; None for a dry run."""
        if self.config.run:
            return Run.open(self.config.run)
        if RUN_FOLDER in os.environ:
            run = Run(os.environ[RUN_FOLDER])
            if run.config.exists() and not (self.started_by_peer or is_restarted_job()):
                raise ValueError(f"{RUN_FOLDER}={run.path} holds a run: resume it with --run, or name another folder")
            run.path.mkdir(parents=True, exist_ok=True)
            return run
        if started_by_a_launcher():
            raise ValueError(f"processes that torchrun or SLURM starts need a common folder: set {RUN_FOLDER}=runs/…")
        if self.config.trainer.fast_dev_run:
            return None
        self.made_folder = True
        return self._make_folder()

    def _make_folder(self) -> Run:
        return Run.create(self.config.runs_dir, self.datamodule.name, variant_of(self.model), self.config.name)

    def _discard_folder(self) -> None:
        """Leaves no trace of a run that never began. A folder in which another process trains is its own."""
        if self.made_folder and self.lock and self.run:
            self.unlock()
            self.run.discard_unless_begun()

    def unlock(self) -> None:
        """Lets others train in the folder."""
        if self.lock:
            self.lock.release()

    def _describe(self) -> None:
        """Writes of what the run is made: its settings and its data, of which a resumed run keeps its own."""
        self._save_config()
        manifest = self.run.path / FILE_NAME
        if self.config.ckpt_path is None or not manifest.is_file():
            partial = manifest.with_suffix(".partial")
            self.datamodule.write_manifest(partial)
            put_in_place(partial, manifest)

    def _save_config(self) -> None:
        """Writes ``config.yaml``, whole or not at all. It describes the training from its first step to its last."""
        if self.resumed is None:
            self._use_findings()
            settings = configuration.describe(self.config)
        else:
            settings = self.resumed.describe_longer()
        if settings is not None:
            write_whole(self.run.config, configuration.write(self.parser, settings))

    def _use_findings(self) -> None:
        """Puts the rate and the batch size that finders found in their place: the run is repeated with them."""
        trainer = self.config.trainer
        callbacks = [one for one in as_list(trainer.callbacks) if one.class_path.rpartition(".")[2] not in FINDER_NAMES]
        if len(callbacks) == len(as_list(trainer.callbacks)):
            return
        trainer.callbacks = callbacks or None
        for settings, current in ((self.config.model, self.model), (self.config.data, self.datamodule)):
            for name, value in settings.init_args.items():
                if isinstance(value, int | float) and name in current.hparams:
                    settings.init_args[name] = current.hparams[name]

    # Trainer

    def _make_callbacks(self) -> list[Callback]:
        given = self.config_init.trainer
        own = as_list(given.callbacks)
        saves = self.run is not None and given.enable_checkpointing is not False
        last = Last(self.run) if saves else None
        callbacks: list[Callback] = [*make_selection(self.config), self.recorder, LookRecorder(self.run)]
        callbacks.append(Introduction(self.config.seed_everything, self.notes))
        if given.enable_progress_bar is not False and not any(isinstance(callback, ProgressBar) for callback in own):
            callbacks.append(progress_bar())
        if self.run and not any(isinstance(callback, Dashboard) for callback in own):
            callbacks.append(Dashboard())
        if last:
            callbacks += [Best(self.run, self.config.monitor), last]
        return [*callbacks, Interrupts(last, self.config.save_every_minutes, self.config.save_every_steps)]

    def _make_settings(self) -> dict[str, object]:
        settings: dict[str, object] = {}
        if self.config_init.trainer.logger in (None, True):
            settings["logger"] = RunLogger(self.run.path, self._first_new_step()) if self.run else False
        if self.run is None:
            settings["enable_checkpointing"] = False
        return settings

    def _first_new_step(self) -> int | None:
        """The step from which the dashboard forgets what an earlier part of the run logged; None for a new run."""
        if self.config.ckpt_path:
            return read_checkpoint(self.config.ckpt_path)["global_step"]
        return 0 if self.config.run or is_restarted_job() else None

    # Training

    def train(self) -> None:
        """Trains to the end, or until a signal; then says how to resume.

        Raises:
            ValueError: If there is nothing to train.
        """
        ignore_own_warnings(self.config, self.run, self.resumed)
        for_peers = {PRECISION: str(self.config.trainer.precision), LAUNCHER: str(os.getpid())}
        if self.config.threads != "auto":
            for_peers[NUM_THREADS] = str(self.config.threads)
        if self.run:
            for_peers[RUN_FOLDER] = str(self.run.path)
        if self.made_folder and not self.finds_its_folder and SLURMEnvironment.detect():
            warn(f"SLURM may restart this job: set {RUN_FOLDER}=runs/…, so that it resumes its run")
        try:
            with handing_on(for_peers):
                self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=self.config.ckpt_path, weights_only=True)
            if self.trainer.global_step == 0:
                raise ValueError("nothing was trained: the settings of the Trainer allow no step")
        except BaseException as error:  # Interrupted is a SystemExit, Ctrl-C a KeyboardInterrupt
            has_diverged = isinstance(error, TrainingError)
            if not (has_diverged and self.keeps_diverged):
                self._discard_folder()
            if has_diverged:
                self._note_divergence(str(error))
            if isinstance(error, Interrupted) and self.started_by_peer:
                sys.exit(0)  # the first process gives the exit status; it would take another for a crash of this one
            can_resume = self.recorder.trained and not has_diverged and self.run and self.run.last.is_file()
            if can_resume and self.trainer.is_global_zero:
                self._print_how_to_resume()
            raise
        if self.recorder.trained and (averaging := averages_that_never_began(self.trainer)):
            warn(f"{averaging[0]}: the average never began; the weights are those of the last step, as without it")
        if self.trainer.is_global_zero and self.resumed and not self.recorder.trained:
            stopped = was_stopped_early(self.trainer)
            reason = f"{stopped} has ended the training" if stopped else self.resumed.why_finished()
            print(f"nothing left to train: {reason}")

    def _note_divergence(self, reason: str) -> None:
        """Enters into ``results.json`` that the training diverged, if the folder stays."""
        if self.run and self.run.config.is_file():
            with contextlib.suppress(OSError):  # a full disk: the reason is printed all the same
                self.run.add_results({DIVERGED: in_one_line(reason)})

    def _print_how_to_resume(self) -> None:
        options = self.resumed.options() if self.resumed else ""
        print(f"stopped; resume with: lit-cnn resume {quoted(self.run.path)}{options}", flush=True)

    def scores_of_best(self) -> dict[str, ClassScores]:
        return self.recorder.class_scores(self.trainer)

    def test(self) -> dict[str, float]:
        """Looks at the test images once, as ``lit-cnn test`` would, with the best checkpoint, else with the last.

        If no checkpoint was saved, the network is tested as training left it.
        """
        checkpoint = self.run.checkpoint if self.run else None
        ignore_evaluation_warnings()
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True)
        return self.scores()
