"""``lit-cnn fit``, ``validate`` and ``test``: LightningCLI with this project's defaults."""

from __future__ import annotations

import os
import re
import sys
import warnings
from typing import Any, NoReturn

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, LambdaCallback, ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

import lit_cnn.models  # noqa: F401 - makes every model known by its name
from lit_cnn.classifier import LitClassifier
from lit_cnn.console import DEBUG, arguments_of_run, explain, model_options, one_line_errors, print_results, quiet
from lit_cnn.data import ImageDataModule
from lit_cnn.run import Run
from lit_cnn.training.checkpoints import Best, Last
from lit_cnn.training.dashboard import Dashboard, RunLogger
from lit_cnn.training.progress import progress_bar
from lit_cnn.training.record import Recorder, with_interval

# Processes that a launcher starts for the other devices find the folder of their run here.
RUN_FOLDER = "LIT_CNN_RUN_FOLDER"
# What belongs to a command, not to the run that its configuration describes.
COMMAND_KEYS = ("config", "run", "runs_dir", "test_after_fit", "ckpt_path", "weights_only", "verbose")
TRAINER_DEFAULTS = {
    "max_epochs": 10,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}
# How a checkpoint is evaluated: without Lightning's own table, and without running code from it.
QUIETLY = {"verbose": False, "weights_only": True}
# Arguments of the model that are filled in from the data.
LINKED = {"num_classes": "data.num_classes", "in_channels": "data.channels"}


class Parser(LightningArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if ex is not None and os.environ.get(DEBUG):
            raise ex
        print(f"lit-cnn: error: {explain(message)}", file=sys.stderr)
        sys.exit(2)


class CLI(LightningCLI):
    """Finds models and datasets by their names and keeps each training in a folder of its own."""

    def __init__(self) -> None:
        self.folder: Run | None = None
        self.made_folder = False
        self.recorder: Recorder | None = None
        super().__init__(
            LitClassifier,
            ImageDataModule,
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
        for target, source in LINKED.items():
            parser.link_arguments(source, f"model.init_args.{target}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        arguments = arguments_of_run(sys.argv[1:])
        # LightningCLI would overwrite these without a word.
        for name in model_options(arguments):
            if name in LINKED:
                parser.error(f"{name} of the model follows from the data and cannot be set")
        self.config = parser.parse_args(arguments)
        if "://" in str(self.options.ckpt_path):
            parser.error(f"a checkpoint must be a file, got {self.options.ckpt_path}")

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
        self.recorder = Recorder(self.folder)
        fitting = self.subcommand == "fit"
        given = self._get(self.config_init, "trainer")
        theirs = given.callbacks or []
        ours: list[Callback] = [self.recorder]
        if fitting:
            ours.append(LambdaCallback(on_fit_start=self._introduce))
        if fitting and given.enable_progress_bar is not False and not any(isinstance(c, ProgressBar) for c in theirs):
            ours.append(progress_bar())
        if fitting and self.folder:
            ours.append(Dashboard())
            if given.enable_checkpointing is not False:
                ours += [Best(self.folder), Last(self.folder)]
        settings: dict[str, Any] = {"callbacks": [*theirs, *ours], "use_distributed_sampler": False}
        if given.logger in (None, True):
            settings["logger"] = RunLogger(self.folder.path) if self.folder and self.subcommand != "validate" else False
        if not fitting:
            settings |= {"enable_progress_bar": False, "enable_checkpointing": False}
        elif self.folder is None:
            settings["enable_checkpointing"] = False
        try:
            return super().instantiate_trainer(**settings)
        except TypeError as error:
            raise ValueError(f"the Trainer cannot be made with devices={given.devices}: {error}") from error

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
            self.folder.path.mkdir(parents=True, exist_ok=True)
        elif "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1:
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
        """Silences what Lightning warns of because of this command, not because of what the user gave."""
        about: list[str] = []
        if self.subcommand != "fit":
            about.append(r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint")
        elif self.options.trainer.log_every_n_steps is None:
            # The metrics of an epoch are logged all the same.
            about.append(r"The number of training batches \(\d+\) is smaller than the logging interval")
        if self.options.run:
            own = re.escape(str(self.folder.checkpoints.resolve()))
            about.append(rf"Checkpoint directory {own} exists and is not empty")
        for message in about:
            warnings.filterwarnings("ignore", message, UserWarning)

    def fit(self, **kwargs: Any) -> None:
        self._silence_own_doing()
        if self.made_folder and self.folder:
            os.environ[RUN_FOLDER] = str(self.folder.path)
        if self.trainer.is_global_zero:
            self._save_config()
        try:
            self.trainer.fit(**kwargs | {"weights_only": True})
            if self.trainer.global_step == 0:
                raise ValueError("nothing was trained: the Trainer was told to make no step")
        except BaseException:
            self._discard_folder()
            if self.trainer.interrupted and self.trainer.is_global_zero and self.folder and self.folder.last.is_file():
                print(f"interrupted; go on with: lit-cnn fit --run {self.folder.path}", flush=True)
            raise
        finally:
            if self.made_folder:
                del os.environ[RUN_FOLDER]

    def _save_config(self) -> None:
        if self.folder:
            config = self.options.clone()
            for key in COMMAND_KEYS:
                config.pop(key, None)
            # A run that goes on under other settings is described by those.
            self._parser("fit").save(config, self.folder.config, skip_none=True, skip_validation=True, overwrite=True)

    def _introduce(self, trainer: Trainer, model: LitClassifier) -> None:
        """Says what begins to train, once all of it has been found to fit."""
        if not trainer.is_global_zero:
            return
        size = sum(parameter.numel() for parameter in model.network.parameters())
        device = trainer.strategy.root_device.type
        print(
            f"{type(model).__name__} ({model.hparams.get('variant', 'no variants')}, {size:,} parameters) on "
            f"{self.datamodule.name} at {self.datamodule.image_size}×{self.datamodule.image_size}; "
            f"{trainer.world_size} × {device}, {trainer.precision}; seed {self.options.seed_everything}",
            flush=True,
        )
        if model.pretrained:
            theirs = "theirs were" if model.normalisation else "this dataset's are, for they do not say how theirs were"
            print(f"{model.pretrained}; images normalised as {theirs}")
        if model.hparams["freeze"] != "none":
            learning = sum(parameter.numel() for parameter in model.network.parameters() if parameter.requires_grad)
            started = model.pretrained or trainer.ckpt_path
            print(
                f"freeze={model.hparams['freeze']}: {learning:,} of the parameters learn"
                + ("" if started else "; what is frozen is random, without --model.weights"),
                flush=True,
            )

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
            trained_here = self.folder.checkpoint if self.folder and self.subcommand == "fit" else None
            print_results(results, trained_here or self.options.ckpt_path, self.folder.path if self.folder else None)


def main(_: list[str]) -> int:
    """Runs a subcommand and returns the exit status; LightningCLI reads the arguments from ``sys.argv`` itself."""
    quiet()
    with one_line_errors():
        CLI()
    return 0
