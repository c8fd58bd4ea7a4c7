"""What ``fit``, ``validate`` and ``test`` have in common: LightningCLI with this project's defaults."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import Namespace
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, Checkpoint, ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

import lit_cnn.models  # noqa: F401 - makes every model known by its name
from lit_cnn.commands import configuration
from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.devices import check_number_of_processes
from lit_cnn.commands.lengths import check_lengths
from lit_cnn.commands.options import LINKED
from lit_cnn.commands.parser import PARSER_MODE, Parser, read_short_names
from lit_cnn.commands.policy import refuse_addresses, restrict_imports
from lit_cnn.commands.profilers import make_profiler, reports
from lit_cnn.commands.resuming import warn
from lit_cnn.commands.seed_options import MAX_SEED
from lit_cnn.commands.selection import add_selection_options, check_selection, resolve_monitor
from lit_cnn.commands.settings import check_settings, choose_image_size
from lit_cnn.commands.tables import print_results
from lit_cnn.commands.threads import use_threads
from lit_cnn.commands.trainer_options import as_list, check_trainer, refuse_named_classes
from lit_cnn.data import ImageDataModule
from lit_cnn.data.contents import following_run
from lit_cnn.data.manifest import FILE_NAME
from lit_cnn.network.counting import count_multiply_adds
from lit_cnn.network.sizes import takes
from lit_cnn.network.tta import Tta
from lit_cnn.runs.checkpoint_file import SafeCheckpointIO
from lit_cnn.runs.folder import Run
from lit_cnn.runs.monitor import describe_checkpoint
from lit_cnn.runs.search import run_of_checkpoint
from lit_cnn.system.processes import launched_devices, started_by_a_launcher
from lit_cnn.training.callbacks.compile import Compile, Mode
from lit_cnn.training.callbacks.interrupts import SAVE_EVERY_MINUTES
from lit_cnn.training.callbacks.looks import LookRecorder, with_interval
from lit_cnn.training.callbacks.vital_signs import EVERY, VitalSigns
from lit_cnn.training.class_scores import ClassScores
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.precision import AutoTrainer, choose_precision

# Processes that a launcher starts for the other devices find here the precision that the first process chose.
PRECISION = "LIT_CNN_PRECISION"
TRAINER_DEFAULTS = {"max_epochs": 10, "enable_model_summary": False, "num_sanity_val_steps": 0}


class CLI(LightningCLI):
    """Parses the settings of a command, and makes data and network; the command makes the Trainer.

    Args:
        command: ``fit``, ``validate`` or ``test``.
        arguments: What :func:`lit_cnn.commands.arguments.prepare` returns.
    """

    config: Any

    def __init__(self, command: str, arguments: list[str]) -> None:
        self.command = command
        self.run: Run | None = None
        self.trainer: Trainer | None = None
        restrict_imports()
        read_short_names()
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
            parser_kwargs={"prog": f"lit-cnn {command}", "description": "", "parser_mode": PARSER_MODE},
            args=arguments,
            run=False,
        )

    # Settings

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        add = parser.add_argument
        add("--run", type=str | None, default=None, help="Folder of an earlier run, or latest.")
        add(
            "--ckpt_path",
            type=str | None,
            default=None,
            help="Checkpoint to start from: a file, or last or best of the run.",
        )
        add("--runs_dir", type=str, default="runs", help="Where the folders of new runs are made.")
        add("--name", type=str | None, default=None, help="Name of the new run's folder; time and a short id by default.")
        add("--seeds", type=str | None, default=None, help="Train once for each seed: their number, or a list: 0,3,7.")
        add(
            "--test_after_fit", action="store_true", help="After fit, look at the test images once with the best checkpoint."
        )
        often = "Save last.ckpt this often within an epoch."
        add("--save_every_minutes", type=float | None, default=SAVE_EVERY_MINUTES, help=often)
        add("--save_every_steps", type=int | None, default=None, help="Save last.ckpt after so many optimiser steps.")
        add(
            "--compile",
            type=Mode | None,
            nargs="?",
            const="default",
            default=None,
            help="Compile the network with torch.compile; reduce-overhead, on a GPU, is for small networks.",
        )
        add("--diagnose", type=int | None, nargs="?", const=EVERY, help="Measure the layers every so many steps (50).")
        add(
            "--threads",
            type=Literal["auto"] | int,
            default="auto",
            help="Threads of each process that compute on the processor; auto leaves out processors that are busy now.",
        )
        add("--lr", type=Literal["auto"] | None, default=None, help="auto: find the learning rate once, and use it.")
        add("--time_limit", type=str | None, default=None, help="Train the epochs that fit into this time: 20m, 1h30m, 90s.")
        add("--tta", type=Tta | None, default=None, help="Test-time augmentation of validate and test.")
        add_selection_options(parser)
        for target, source in LINKED.items():
            parser.link_arguments(source, f"model.init_args.{target}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        typed = Arguments(args)
        if self.command == "fit":
            try:
                refuse_named_classes(typed)
            except ValueError as error:
                parser.error(str(error))
        self.config = parser.parse_args(args)
        if not isinstance(self.config.trainer, Namespace) or "callbacks" not in self.config.trainer:
            parser.error(f"trainer: expected its settings by name, got {self.config.trainer}")
        try:
            self._check_settings()
        except ValueError as error:
            parser.error(str(error))
        for key in ("run", "ckpt_path", "seeds", "lr", "time_limit", "tta"):
            if self.config[key] is not None and self.config[key] != typed.last(f"--{key}"):
                parser.error(
                    f"{key}: {self.config[key]} stands in a configuration, but belongs to the command line: --{key}"
                )
        if self.config.name and (self.config.run or self.command != "fit"):
            parser.error(f"name: {self.config.name} is the name of a new run: a run that there is keeps its own")
        self._choose_image_size()
        checkpoint = self.config.ckpt_path
        if checkpoint and not Path(checkpoint).is_file():
            parser.error(f"a checkpoint must be a file, got {checkpoint}")

    def _choose_image_size(self) -> None:
        choose_image_size(self.config)

    def _check_settings(self) -> None:
        """Raises a ValueError if the command cannot do what the settings say."""
        check_settings(self.config)
        settings = configuration.describe(self.config)
        commands = {key: self.config[key] for key in ("runs_dir", "run", "ckpt_path")}
        refuse_addresses(settings | commands)
        check_trainer(settings["trainer"], self.command)
        check_lengths(settings["trainer"], self.command, self.config.test_after_fit)
        if self.command == "fit":
            check_selection(settings, resumes=self.config.ckpt_path is not None)
            resolve_monitor(self.config)
        self._launched = launched_devices(self.config.trainer.devices, self.config.trainer.num_nodes)
        if not started_by_a_launcher():
            check_number_of_processes(settings["trainer"])
        seed = self.config.seed_everything
        if type(seed) is not int or not 0 <= seed <= MAX_SEED:  # true is an int
            raise ValueError(f"seed_everything must be a whole number from 0 to {MAX_SEED}, got {str(seed).lower()}")
        threads = self.config.threads
        if threads != "auto" and threads < 1:
            raise ValueError(f"threads: expected auto or a number of at least 1, got {threads}")

    # Data, network, Trainer

    def instantiate_classes(self) -> None:
        # A checkpoint brings its own weights. Those that its training started from may be gone.
        model = self.config.model.init_args
        started_from = model.get("weights")
        if self.config.ckpt_path and started_from:
            model.weights = None
        try:
            with following_run(self._find_manifest()):  # nor are the images of its training drawn anew
                super().instantiate_classes()
        finally:
            if started_from:
                model.weights = started_from

    def _find_manifest(self) -> Path | None:
        """The manifest of the run that saved the checkpoint; None if it is not known."""
        if self.config.ckpt_path is None:
            return None
        run = self.find_run_of_checkpoint()
        manifest = run.path / FILE_NAME if run else None
        return manifest if manifest and manifest.is_file() else None

    def find_run_of_checkpoint(self) -> Run | None:
        """The run that saved the checkpoint; None if it is not known."""
        named = [Run(self.config.run)] if self.config.run else []
        configured = [Run(Path(str(path)).parent) for path in self.config.config or []]
        return run_of_checkpoint(self.config.ckpt_path, self.config.runs_dir, [*named, *configured])

    def instantiate_trainer(self, **kwargs: Any) -> None:
        """Leaves the Trainer to :meth:`make_trainer`: it needs the run's folder, which is made last."""

    def make_trainer(self, callbacks: list[Callback], with_own: bool = True, **settings: Any) -> Trainer:
        """A Trainer with the user's settings and ours.

        Args:
            callbacks: Ours; the user's run before them.
            with_own: Whether the user's callbacks and profiler run too.
            settings: Arguments of the Trainer that replace the user's.

        Raises:
            ValueError: If settings that the user gives make no sense together, such as the devices.
        """
        given = self.config_init.trainer
        if self.config.compile:
            callbacks = [Compile(self.config.compile), *callbacks]
        if self.config.diagnose is not None and self.command == "fit" and with_own:
            callbacks = [VitalSigns(self.config.diagnose, self.run), *callbacks]
        plugins = given.plugins or []
        own = as_list(given.callbacks) if with_own else []
        if self.command != "fit":  # which saves nothing and shows no epochs
            own = [callback for callback in own if not isinstance(callback, Checkpoint | ProgressBar)]
        profiler = make_profiler(given.profiler, self.run.path if self.run else None) if with_own else None
        settings |= {
            "callbacks": [*own, *callbacks],
            "profiler": profiler,
            "plugins": [*as_list(plugins), SafeCheckpointIO()],
            "use_distributed_sampler": False,
            **self._launched,
        }
        if given.precision == "auto" and not plugins:  # one of which may be a precision
            # Saved with the run: it is resumed and evaluated in the precision in which it began.
            settings["precision"] = self.config.trainer.precision = self._choose_precision(given.accelerator)
        if self.run and given.default_root_dir is None:
            # Lightning would resume from any hpc_ckpt_….ckpt that lies in the current folder.
            settings["default_root_dir"] = self.run.path
        try:
            trainer = super().instantiate_trainer(**settings)
        except TypeError as error:
            about = f" with devices={given.devices}" if "devices" in str(error) else ""
            raise ValueError(f"the Trainer cannot be made{about}: {error}") from error
        except RuntimeError as error:
            twice = re.search(r"more than one stateful callback of type `(\w+)`", str(error))
            if not twice:
                raise
            raise ValueError(f"trainer.callbacks: {twice[1]} stands there twice with the same settings; give one") from error
        if trainer.strategy.root_device.type == "cpu":
            # Saved with the run: it decides how sums are rounded.
            self.config.threads = use_threads(self.config.threads, trainer.num_devices, self.command)
        return trainer

    def _choose_precision(self, accelerator: Any) -> str:
        if PRECISION in os.environ:
            return os.environ[PRECISION]
        on_cpu = accelerator == "cpu" or not torch.accelerator.is_available()
        device = "cpu" if on_cpu else torch.accelerator.current_accelerator().type
        network, channels, size = self.model.network, self.model.in_channels, self.datamodule.image_size
        # Where the size does not fit, the model says so when it meets the data.
        if not takes(network, channels, size):
            return "32-true"
        image = torch.zeros(1, channels, size, size)
        return choose_precision(device, self.datamodule.batch_size * count_multiply_adds(network, image))

    # Results

    def scores(self) -> dict[str, float]:
        """What the Trainer logged last, the test accuracy with its interval."""
        scores = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        return with_interval(scores)

    def scores_of_best(self) -> dict[str, ClassScores]:
        """Scores of the classes in the best validation of a training, by split."""
        return {}

    def report(self, results: dict[str, float], checkpoint: str | Path | None) -> None:
        """Prints the table at the end of a command."""
        if self.trainer.is_global_zero:
            recorder = next(callback for callback in self.trainer.callbacks if isinstance(callback, LookRecorder))
            if recorder.problem:
                warn(recorder.problem)
            for path in reports(self.trainer.profiler):
                print(f"report of the profiler: {path}")
            of_classes = {**self.scores_of_best(), **recorder.scores}
            folder = self.run.path if self.run else None
            of_checkpoint = describe_checkpoint(self.config.monitor) if self.command == "fit" else None
            print_results(results, checkpoint, folder, recorder.looks, of_classes, of_checkpoint, self.model.tta)
