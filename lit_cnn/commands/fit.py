"""``lit-cnn fit``: trains a network and keeps everything of the training in a folder."""

from __future__ import annotations

import os
import re
import shlex
import sys
from inspect import signature
from typing import Any

from pytorch_lightning.callbacks import Callback, ProgressBar
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.plugins.environments import SLURMEnvironment

from lit_cnn.commands import configuration
from lit_cnn.commands.cli import CLI, PRECISION, as_list
from lit_cnn.commands.evaluate import ignore_evaluation_warnings
from lit_cnn.commands.messages import ignore_warnings, quiet
from lit_cnn.commands.resuming import LAUNCHER, RUN_FOLDER, is_restarted_job, warn
from lit_cnn.data.manifest import FILE_NAME
from lit_cnn.errors import Interrupted
from lit_cnn.runs.checkpoint_file import peek, read_checkpoint
from lit_cnn.runs.folder import Run
from lit_cnn.runs.identity import RULES, Change, Rule, find_changes
from lit_cnn.runs.lock import RunLock
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.system.processes import end_with_parent, handing_on, is_first_process, started_by_a_launcher
from lit_cnn.training.callbacks.checkpointing import Best, Last
from lit_cnn.training.callbacks.dashboard import Dashboard, RunLogger
from lit_cnn.training.callbacks.finders import FINDERS
from lit_cnn.training.callbacks.interrupts import Interrupts
from lit_cnn.training.callbacks.introduction import Introduction
from lit_cnn.training.callbacks.looks import LookRecorder
from lit_cnn.training.callbacks.progress import progress_bar
from lit_cnn.training.callbacks.record import Recorder
from lit_cnn.training.callbacks.resume import was_stopped_early
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.origin import Origin
from lit_cnn.training.schedule import DEFAULT_SCHEDULE, depends_on_length

LENGTH_ARGUMENTS = [setting.removeprefix("trainer.") for setting, rule in RULES.items() if rule is Rule.LENGTH]
FINDER_NAMES = {cls.__name__ for cls in FINDERS}


def main(arguments: list[str]) -> int:
    """Trains and returns the exit status."""
    quiet()
    keep_freed_memory()
    training = Training(arguments[1:])
    try:
        training.train()
        results = training.recorder.training_results(training.trainer)
        if training.config.test_after_fit:
            results |= training.test()
        training.report(results, training.run.checkpoint if training.run else None)
    finally:
        training.unlock()
    return 0


class Training(CLI):
    """A training: settings, data and network (:class:`CLI`), then the folder, the Trainer, the training itself.

    Args:
        arguments: Options of the command.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.started_by_peer = LAUNCHER in os.environ
        if self.started_by_peer:
            end_with_parent(int(os.environ[LAUNCHER]))
        self.own_settings: dict[str, Any] | None = None  # with which a resumed run began
        self.changes: list[Change] = []  # of a resumed run
        self._keeps_its_length = False  # although another was given
        super().__init__("fit", arguments)
        if checkpoint := self.config.ckpt_path:
            # The Trainer compares them too, but not before its logger has written.
            Origin.of(peek(checkpoint), checkpoint).check(self.datamodule, "fit", with_digest=False)
            self.datamodule.check_images("fit")
        if self.config.test_after_fit:
            self.datamodule.check_images("test")
        self.made_folder = False
        self.lock: RunLock | None = None
        configuration.write(self.parser, configuration.describe(self.config))  # before anything is made
        self.run = self._find_folder()
        try:
            if self.run and is_first_process():
                self.lock = RunLock(self.run.path)
            self.recorder = Recorder(self.run, self._describe, self.changes)
            self.trainer = self.make_trainer(self._make_callbacks(), **self._make_settings())
        except BaseException:  # Ctrl-C too must leave no empty folder
            self._discard_folder()
            self.unlock()
            raise

    # Settings

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Refuses, in a resumed run, settings that cannot change."""
        super().parse_arguments(parser, args)
        if not (self.config.run and self.config.ckpt_path):
            return
        run = Run.open(self.config.run)
        if self.config.trainer.fast_dev_run:
            parser.error("fast_dev_run trains a new network for a few batches and resumes no run: leave it out")
        self.own_settings = configuration.parse(parser, run.config.read_text(encoding="utf-8"))
        own_trainer = self.own_settings["trainer"]
        if self.config.trainer.precision == "auto":
            self.config.trainer.precision = own_trainer["precision"]
        self.changes = find_changes(self.own_settings, configuration.describe(self.config))
        # First what no run may change.
        for change in sorted(self.changes, key=lambda change: change.rule is not Rule.EQUAL):
            if change.rule is Rule.EQUAL or (change.rule is Rule.LENGTH and self._schedule_of_its_length()):
                self._refuse(parser, run, change)
        self._refuse_a_shorter_training(parser)
        if self._keeps_its_length:
            self.changes = [change for change in self.changes if change.rule is not Rule.LENGTH]
            for name in LENGTH_ARGUMENTS:
                self.config.trainer[name] = own_trainer[name]

    def _refuse_a_shorter_training(self, parser: LightningArgumentParser) -> None:
        epochs, steps = self._done()
        for name, done in (("max_epochs", epochs), ("max_steps", steps)):
            limit = self.config.trainer[name]
            if limit not in (None, -1) and limit < done and limit != self.own_settings["trainer"][name]:
                parser.error(f"trainer.{name} cannot become {limit}: {done} are done already")

    def _schedule_of_its_length(self) -> str | None:
        """The run's schedule, if it depends on the length of the training."""
        model = (self.own_settings or configuration.describe(self.config))["model"].get("init_args", {})
        schedule, warmup_ratio = model.get("schedule", "constant"), model.get("warmup_ratio", 0.0)
        if not depends_on_length(schedule, warmup_ratio):
            return None
        return f"{schedule} with warm-up" if warmup_ratio else schedule

    def _refuse(self, parser: LightningArgumentParser, run: Run, change: Change) -> None:
        schedule = self._schedule_of_its_length()
        anew = f"start a new run from its weights: --config {run.config} --model.weights {run.path}"
        group, _, name = change.setting.partition(".")
        if group == "model" and name not in signature(LitClassifier.__init__).parameters:
            anew = f"start a new run: --config {run.config}"  # its weights do not fit another network
        if change.rule is Rule.EQUAL:
            reason = "leave it out to resume the run, or"
        else:
            reason = f"the schedule {schedule} depends on the length of the training;"
        message = f"{change.setting} of {run.path} {change}: {reason} {anew}"
        if change.rule is Rule.LENGTH and schedule == DEFAULT_SCHEDULE and self._is_finished():
            # Nobody may have chosen it. The run is complete, and stays as it is.
            if not self._keeps_its_length:
                warn(message)
            self._keeps_its_length = True
            return
        parser.error(message)

    def _is_finished(self) -> bool:
        length = self.own_settings["trainer"]
        pairs = zip(self._done(), (length["max_epochs"], length["max_steps"]), strict=True)
        return any(limit not in (None, -1) and done >= limit for done, limit in pairs)

    def _done(self) -> tuple[int, int]:
        """Epochs and steps that are done, according to the checkpoint."""
        checkpoint = read_checkpoint(self.config.ckpt_path)
        return checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"], checkpoint["global_step"]

    # Folder

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
        variant = self.model.hparams.get("variant", type(self.model).__name__)  # a user's class may have no variants
        return Run.create(self.config.runs_dir, self.datamodule.name, variant, self.config.name)

    def _discard_folder(self) -> None:
        """Leaves no trace of a run that never began."""
        if self.made_folder and self.run:
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
            partial.replace(manifest)

    def _save_config(self) -> None:
        """Writes ``config.yaml``, whole or not at all. It describes the training from its first step to its last."""
        if self.own_settings is None:
            self._use_findings()
            settings = configuration.describe(self.config)
        else:
            longer = [change for change in self.changes if change.rule is Rule.LENGTH]
            if not longer:
                return
            settings = self.own_settings
            for change in longer:
                settings["trainer"][change.setting.removeprefix("trainer.")] = change.given
        partial = self.run.config.with_suffix(".partial")
        partial.write_text(configuration.write(self.parser, settings), encoding="utf-8")
        partial.replace(self.run.config)

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
        callbacks: list[Callback] = [self.recorder, LookRecorder(self.run), Introduction(self.config.seed_everything)]
        if given.enable_progress_bar is not False and not any(isinstance(callback, ProgressBar) for callback in own):
            callbacks.append(progress_bar())
        if self.run:
            callbacks.append(Dashboard())
        if last:
            callbacks += [Best(self.run), last]
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
        self._ignore_own_warnings()
        for_peers = {PRECISION: str(self.config.trainer.precision), LAUNCHER: str(os.getpid())}
        if self.run:
            for_peers[RUN_FOLDER] = str(self.run.path)
        if self.made_folder and SLURMEnvironment.detect():
            warn(f"SLURM may restart this job: set {RUN_FOLDER}=runs/…, so that it resumes its run")
        try:
            with handing_on(for_peers):
                self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=self.config.ckpt_path, weights_only=True)
            if self.trainer.global_step == 0:
                raise ValueError("nothing was trained: the settings of the Trainer allow no step")
        except BaseException as error:  # Interrupted is a SystemExit, Ctrl-C a KeyboardInterrupt
            self._discard_folder()
            if isinstance(error, Interrupted) and self.started_by_peer:
                sys.exit(0)  # the first process gives the exit status; it would take another for a crash of this one
            if self.recorder.trained and self.trainer.is_global_zero and self.run and self.run.last.is_file():
                print(f"stopped; resume with: lit-cnn resume {self.run.path}{self._options_again()}", flush=True)
            raise
        if self.trainer.is_global_zero and self.config.run and not self.recorder.trained:
            print(f"nothing left to train: {self._why_nothing_is_left()}")

    def _options_again(self) -> str:
        """Options of a resumed run that its configuration does not have."""
        free = [
            change for change in self.changes if change.rule is Rule.FREE and isinstance(change.given, str | int | float)
        ]
        return "".join(f" --{change.setting} {shlex.quote(str(change.given))}" for change in free)

    def _why_nothing_is_left(self) -> str:
        if stopped := was_stopped_early(self.trainer):
            return f"{stopped} has ended the training"
        if not self._is_finished():
            return "the time limit is used up; --trainer.max_time null lifts it"
        if schedule := self._schedule_of_its_length():
            return f"the schedule {schedule} has ended; train further in a new run: --model.weights {self.run.path}"
        return f"max_epochs is {self.trainer.max_epochs}; raise --trainer.max_epochs (make: EPOCHS)"

    def _ignore_own_warnings(self) -> None:
        """Silences what Lightning warns of because of this command, not because of what the user gave."""
        if self.config.trainer.log_every_n_steps is None:
            # The metrics of an epoch are logged all the same.
            ignore_warnings(
                r"The number of training batches \(\d+\) is smaller than the logging interval Trainer\(log_every_n_steps="
            )
        if self.config.run:
            folders = "|".join(re.escape(str(path)) for path in (self.run.checkpoints, self.run.checkpoints.resolve()))
            ignore_warnings(rf"Checkpoint directory ({folders}) exists and is not empty")

    def test(self) -> dict[str, float]:
        """Looks at the test images once, as ``lit-cnn test`` would, with the best checkpoint, else with the last.

        If no checkpoint was saved, the network is tested as training left it.
        """
        checkpoint = self.run.checkpoint if self.run else None
        ignore_evaluation_warnings()
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True)
        return self.scores()
