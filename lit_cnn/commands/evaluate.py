"""``lit-cnn validate`` and ``lit-cnn test``: evaluate a checkpoint."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.cli import LightningArgumentParser

from lit_cnn.commands.cli import CLI
from lit_cnn.commands.messages import ignore_warnings, quiet
from lit_cnn.commands.tta import warn_of_unseen
from lit_cnn.runs.checkpoint_file import peek
from lit_cnn.runs.folder import Run
from lit_cnn.runs.results import leaves_batches_out
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.system.text import printable
from lit_cnn.training.callbacks.interrupts import Interrupts
from lit_cnn.training.callbacks.looks import LookRecorder
from lit_cnn.training.origin import Origin
from lit_cnn.training.run_logger import RunLogger

# Warnings of Lightning. The callbacks that trained are not wanted in an evaluation.
CALLBACKS_NEEDED = (
    r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint need to be provided during `Trainer` "
    r"instantiation\. Please add the following callbacks: \[.*\]\.$"
)
# What a checkpoint holds are the averaged weights, which are to be evaluated.
AVERAGED_WEIGHTS = (
    r"You're using the WeightAveraging callback, but loading a checkpoint outside the 'fit' stage\. The WeightAveraging "
    r"state cannot be restored\. "
)


class Evaluation(CLI):
    """Settings, data and network of an evaluation."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        data = self.config.data
        if self.config.ckpt_path and "channels" in data.init_args and data.init_args.channels is None:
            # Grey or colour as in training, whatever the images of another folder are.
            data.init_args.channels = Origin.of(peek(self.config.ckpt_path)).data.get("channels")

    def _choose_image_size(self) -> None:
        """As in training, if no size is given: it may not be the one for which the network was published."""
        arguments = self.config.data.init_args
        if self.config.ckpt_path and "image_size" in arguments and arguments.image_size is None:
            arguments.image_size = Origin.of(peek(self.config.ckpt_path)).data.get("image_size")
        super()._choose_image_size()


def main(arguments: list[str]) -> int:
    """Evaluates on the validation or the test images and returns the exit status."""
    command, *options = arguments
    quiet()
    keep_freed_memory()
    cli = Evaluation(command, options)
    checkpoint = cli.config.ckpt_path
    if checkpoint is None:
        raise ValueError(f"{command} needs a trained network: --run FOLDER, or --ckpt_path FILE")
    cli.run = find_tested_run(cli, checkpoint)
    # The Trainer compares them too, but not before it has loaded weights, which do not fit other classes.
    origin = Origin.of(peek(checkpoint), checkpoint)
    origin.check(cli.datamodule, command, with_digest=False)
    difference = origin.describe_evaluation(cli.datamodule, cli.run.path if cli.run else checkpoint)
    cli.model.tta = cli.config.tta
    warn_of_unseen(cli.config.tta, origin.data.get("flip"))
    settings = {"enable_progress_bar": False, "enable_checkpointing": False}
    if cli.config_init.trainer.logger in (None, True):
        # The dashboard of a run shows the usual test: its own images, all of them, once each.
        is_limited = leaves_batches_out(cli.config.trainer.limit_test_batches)
        is_usual = not (difference or cli.config.tta or is_limited)
        settings["logger"] = RunLogger(cli.run.path) if cli.run and command == "test" and is_usual else False
    cli.trainer = cli.make_trainer([LookRecorder(cli.run, cli.config.runs_dir), Interrupts(last=None)], **settings)
    ignore_evaluation_warnings()
    evaluate = getattr(cli.trainer, command)
    # Without Lightning's own table, and without running code from the checkpoint.
    evaluate(cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True)
    if difference and cli.trainer.is_global_zero:
        print(printable(difference))
    cli.report(cli.scores(), checkpoint)
    return 0


def find_tested_run(cli: CLI, checkpoint: str) -> Run | None:
    """The run that saved a checkpoint, whose ledger gets the look; None if it is not known.

    Raises:
        ValueError: If it is not the run that the user names.
    """
    named = Run.open(cli.config.run) if cli.config.run else None
    run = cli.find_run_of_checkpoint()
    if named and run and named.id != run.id:
        raise ValueError(f"{checkpoint} belongs to the run {run.path}, not to {named.path}: name that run with --run")
    return run


def ignore_evaluation_warnings() -> None:
    """Silences what Lightning warns of in every evaluation of a checkpoint, and what the command says itself."""
    ignore_warnings("this look at ")
    ignore_warnings("cross-dataset evaluation: ")
    ignore_warnings(r".+ was trained on images of \d+×\d+, evaluated on \d+×\d+$")
    ignore_warnings(CALLBACKS_NEEDED)
    ignore_warnings(AVERAGED_WEIGHTS)
