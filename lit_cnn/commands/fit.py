"""``lit-cnn fit``, ``validate`` and ``test``: LightningCLI with this project's defaults."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.plugins.environments import SLURMEnvironment

import lit_cnn.models  # noqa: F401 - makes every model known by its name
from lit_cnn.commands.arguments import RUN_FOLDER, arguments_of_run, is_restarted_job, model_options
from lit_cnn.commands.messages import one_line_errors, quiet, silence_own_doing
from lit_cnn.commands.parser import Parser
from lit_cnn.commands.policy import import_nothing_foreign
from lit_cnn.commands.tables import print_results
from lit_cnn.data import ImageDataModule
from lit_cnn.errors import Interrupted
from lit_cnn.network.counting import count_multiply_adds
from lit_cnn.network.sizes import takes
from lit_cnn.runs.checkpoint_file import SafeCheckpointIO, read_checkpoint
from lit_cnn.runs.folder import Run
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.system.processes import end_with_parent, handing_on, started_by_a_launcher
from lit_cnn.training.callbacks.checkpointing import Best, Last
from lit_cnn.training.callbacks.compile import Compile, Mode
from lit_cnn.training.callbacks.dashboard import Dashboard, RunLogger
from lit_cnn.training.callbacks.interrupts import Interrupts
from lit_cnn.training.callbacks.progress import Introduction, progress_bar
from lit_cnn.training.callbacks.record import Recorder, with_interval
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.precision import AutoTrainer, choose_precision

# Processes that a launcher starts for the other devices find here the precision that the first process chose.
PRECISION = "LIT_CNN_PRECISION"
# And here the number of that process.
LAUNCHER = "LIT_CNN_LAUNCHER"
# What belongs to a command, not to the run that its configuration describes.
COMMAND_KEYS = ("config", "run", "runs_dir", "test_after_fit", "ckpt_path", "weights_only", "verbose")
SAVING_KEYS = ("save_every_minutes", "save_every_steps")
TRAINER_DEFAULTS = {
    "max_epochs": 10,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}
# How a checkpoint is evaluated: without Lightning's own table, and without running code from it.
QUIETLY = {"verbose": False, "weights_only": True}
# Arguments of the model that are filled in from the data.
LINKED = {"num_classes": "data.num_classes", "in_channels": "data.channels"}


class CLI(LightningCLI):
    """Finds models and datasets by their names and keeps each training in a folder of its own."""

    def __init__(self) -> None:
        self.folder: Run | None = None
        self.made_folder = False
        self.recorder: Recorder | None = None
        self.started_by_peer = LAUNCHER in os.environ
        if self.started_by_peer:
            end_with_parent(int(os.environ[LAUNCHER]))
        super().__init__(
            LitClassifier,
            ImageDataModule,
            trainer_class=AutoTrainer,
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=0,
            save_config_callback=None,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_class=Parser,
        )

    # Arguments

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {name: skipped for name, skipped in LightningCLI.subcommands().items() if name != "predict"}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--run", type=str | None, default=None, help="Folder of an earlier run to go on from.")
        parser.add_argument("--runs_dir", type=str, default="runs", help="Where the folders of new runs are made.")
        parser.add_argument(
            "--test_after_fit",
            action="store_true",
            help="After fit, look at the test images once with the best checkpoint.",
        )
        parser.add_argument(
            "--save_every_minutes",
            type=float | None,
            default=10.0,
            help="Save last.ckpt this often within an epoch, besides at its end.",
        )
        parser.add_argument(
            "--save_every_steps",
            type=int | None,
            default=None,
            help="Save last.ckpt after so many optimiser steps, besides at the end of an epoch.",
        )
        parser.add_argument(
            "--compile",
            type=Mode | None,
            nargs="?",
            const="default",
            default=None,
            help="Compile the network with torch.compile; reduce-overhead, on a GPU, is for small networks.",
        )
        for target, source in LINKED.items():
            parser.link_arguments(source, f"model.init_args.{target}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        arguments = arguments_of_run(sys.argv[1:])
        # LightningCLI would overwrite these without a word.
        for name in model_options(arguments):
            if name in LINKED:
                parser.error(f"{name} of the model follows from the data and cannot be set")
        self.config = parser.parse_args(arguments)
        if not isinstance(self.options.trainer, Namespace):
            parser.error(f"trainer: expected its settings by name, got {self.options.trainer}")
        checkpoint = self.options.ckpt_path
        if checkpoint and not Path(checkpoint).is_file():
            parser.error(f"a checkpoint must be a file, got {checkpoint}")

    def _parse_ckpt_path(self) -> None:
        """A checkpoint's arguments do not replace the configuration's: LitClassifier compares the two."""

    @property
    def options(self) -> Any:
        """The subcommand's configuration."""
        return self.config[self.config.subcommand]

    # Trainer and folder

    def instantiate_classes(self) -> None:
        # A checkpoint brings its own weights: those that its training started from need not be there any more.
        model = self.options.model.init_args
        started_from = model.get("weights")
        if self.options.ckpt_path and started_from:
            model.weights = None
        try:
            super().instantiate_classes()
        except BaseException:
            self._discard_folder()
            raise
        finally:
            if started_from:
                model.weights = started_from

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        self._find_folder()
        self.recorder = Recorder(self.folder, self._save_config)
        fitting = self.subcommand == "fit"
        given = self._get(self.config_init, "trainer")
        theirs = given.callbacks or []
        ours: list[Callback] = [self.recorder]
        if fitting:
            ours.append(Introduction(self.options.seed_everything))
        if fitting and given.enable_progress_bar is not False and not any(isinstance(c, ProgressBar) for c in theirs):
            ours.append(progress_bar())
        if self.options.compile:
            ours.append(Compile(self.options.compile))
        last = Last(self.folder) if fitting and self.folder and given.enable_checkpointing is not False else None
        if fitting and self.folder:
            ours.append(Dashboard())
        if last:
            ours += [Best(self.folder), last]
        ours.append(Interrupts(last, self.options.save_every_minutes, self.options.save_every_steps))
        settings: dict[str, Any] = {"callbacks": [*theirs, *ours], "use_distributed_sampler": False}
        plugins = given.plugins or []
        settings["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), SafeCheckpointIO()]
        if given.precision == "auto" and not given.plugins:  # one of which may be a precision
            # Saved with the run: it goes on, and is evaluated, in the precision that it began in.
            settings["precision"] = self.options.trainer.precision = self._choose_precision(given.accelerator)
        if given.logger in (None, True):
            settings["logger"] = self._logger() if self.folder and self.subcommand != "validate" else False
        if self.folder and given.default_root_dir is None:
            # Lightning goes on from a hpc_ckpt_….ckpt that it finds there, of whatever training it is.
            settings["default_root_dir"] = self.folder.path
        if not fitting:
            settings |= {"enable_progress_bar": False, "enable_checkpointing": False}
        elif self.folder is None:
            settings["enable_checkpointing"] = False
        try:
            return super().instantiate_trainer(**settings)
        except TypeError as error:
            raise ValueError(f"the Trainer cannot be made with devices={given.devices}: {error}") from error

    def _logger(self) -> RunLogger:
        if self.subcommand != "fit":
            return RunLogger(self.folder.path)
        # What was shown after the checkpoint was saved will be shown again; without one, all of it.
        checkpoint = self.options.ckpt_path
        before = 0 if self.options.run or is_restarted_job() else None
        return RunLogger(self.folder.path, purge_step=read_checkpoint(checkpoint)["global_step"] if checkpoint else before)

    def _choose_precision(self, accelerator: Any) -> str:
        if PRECISION in os.environ:
            return os.environ[PRECISION]
        on_cpu = accelerator == "cpu" or not torch.accelerator.is_available()
        device = "cpu" if on_cpu else torch.accelerator.current_accelerator().type
        network, channels, size = self.model.network, self.model.in_channels, self.datamodule.image_size
        # If the size does not fit, the model explains it when it meets the data.
        if not takes(network, channels, size):
            return "32-true"
        image = torch.zeros(1, channels, size, size)
        return choose_precision(device, self.datamodule.batch_size * count_multiply_adds(network, image))

    def _find_folder(self) -> None:
        options = self.options
        if options.run:
            self.folder = Run.open(options.run)
        elif self.subcommand != "fit":
            if options.ckpt_path is None:
                raise ValueError(f"{self.subcommand} needs a trained network: --run FOLDER, or --ckpt_path FILE")
            self.folder = Run.of_checkpoint(options.ckpt_path)
        elif RUN_FOLDER in os.environ:
            self.folder = Run(os.environ[RUN_FOLDER])
            if self.folder.config.exists() and not (self.started_by_peer or is_restarted_job()):
                raise ValueError(f"{RUN_FOLDER}={self.folder.path} holds a run: go on with --run, or name another folder")
            self.folder.path.mkdir(parents=True, exist_ok=True)
        elif started_by_a_launcher():
            raise ValueError(f"processes that were not started by lit-cnn need a common folder: set {RUN_FOLDER}=runs/…")
        elif not options.trainer.fast_dev_run:
            model = type(self.model).__module__.rpartition(".")[2]
            self.folder = Run.create(options.runs_dir, self.datamodule.name, model)
            self.made_folder = True

    def _discard_folder(self) -> None:
        """Leaves no trace of a run that never began."""
        if self.made_folder and self.folder:
            self.folder.discard_unless_begun()

    # Commands

    def _silence_own_doing(self) -> None:
        interval_given = self.options.trainer.log_every_n_steps is not None
        own = self.folder.checkpoints if self.options.run else None
        silence_own_doing(fitting=self.subcommand == "fit", interval_given=interval_given, checkpoints=own)

    def fit(self, **kwargs: Any) -> None:
        self._silence_own_doing()
        for_peers = {PRECISION: str(self.options.trainer.precision), LAUNCHER: str(os.getpid())}
        if self.made_folder and self.folder:
            for_peers[RUN_FOLDER] = str(self.folder.path)
            if SLURMEnvironment.detect():
                says = f"SLURM may start this job again: set {RUN_FOLDER}=runs/…, so that it goes on with its run"
                print(f"lit-cnn: warning: {says}", file=sys.stderr, flush=True)
        try:
            with handing_on(for_peers):
                self.trainer.fit(**kwargs | {"weights_only": True})
            if self.trainer.global_step == 0:
                raise ValueError("nothing was trained: the Trainer was told to make no step")
        except BaseException as error:
            self._discard_folder()
            if isinstance(error, Interrupted) and self.started_by_peer:
                sys.exit(0)  # the first process gives the exit status; it would take another for a crash of this one
            if self.trainer.interrupted and self.trainer.is_global_zero and self.folder and self.folder.last.is_file():
                print(f"stopped; go on with: lit-cnn fit --run {self.folder.path}", flush=True)
            raise

    def _save_config(self) -> None:
        config = self.options.clone()
        for key in COMMAND_KEYS:
            config.pop(key, None)
        # A run that goes on under other settings is described by those.
        partial = self.folder.config.with_suffix(".partial")
        self._parser("fit").save(config, partial, skip_none=True, skip_validation=True, overwrite=True)
        partial.replace(self.folder.config)

    def after_fit(self) -> None:
        results = self.recorder.training_results(self.trainer)
        if self.trainer.is_global_zero and self.options.run and not self.recorder.trained:
            epochs = self.trainer.max_epochs
            print(f"nothing left to train: the run has had its {epochs} epochs; raise --trainer.max_epochs")
        if self.options.test_after_fit:
            # Without a checkpoint, the network as it is.
            checkpoint = self.folder.checkpoint if self.folder else None
            self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True)
            results |= self._scores()
        self._report(results)

    def validate(self, **kwargs: Any) -> None:
        self._silence_own_doing()
        self.trainer.validate(**kwargs | QUIETLY)
        self._report(self._scores())

    def test(self, **kwargs: Any) -> None:
        self._silence_own_doing()
        self.trainer.test(**kwargs | QUIETLY)
        self._report(self._scores())

    def _scores(self) -> dict[str, float]:
        scores = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        return with_interval(scores) if "test/acc" in scores else scores

    def _report(self, results: dict[str, float]) -> None:
        if self.trainer.is_global_zero:
            if "test/acc" in results and self.folder:
                results = results | {"test/looks": self.folder.read_results().get("test/looks", 0)}
            trained_here = self.folder.checkpoint if self.folder and self.subcommand == "fit" else None
            print_results(results, trained_here or self.options.ckpt_path, self.folder.path if self.folder else None)


def main(_: list[str]) -> int:
    """Runs a subcommand and returns the exit status; LightningCLI reads the arguments from ``sys.argv`` itself."""
    quiet()
    keep_freed_memory()
    with one_line_errors():
        import_nothing_foreign()
        CLI()
    return 0
