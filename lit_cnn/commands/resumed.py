"""What a resumed run keeps of its settings, and what it does otherwise."""

from __future__ import annotations

import shlex
from inspect import signature
from typing import Any

from pytorch_lightning.cli import LightningArgumentParser

from lit_cnn.commands import configuration
from lit_cnn.commands.resuming import warn
from lit_cnn.runs.checkpoint_file import read_checkpoint
from lit_cnn.runs.folder import Run
from lit_cnn.runs.identity import Change, Rule, find_changes
from lit_cnn.system.paths import quoted
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.schedule import DEFAULT_SCHEDULE, depends_on_length


class ResumedRun:
    """A run with the settings with which it began. Ends the program if it cannot be resumed with those that are given.

    Args:
        parser: Parses the run's own settings, and reports errors.
        config: The given settings. Where the run keeps its own, they are put in their place.
    """

    def __init__(self, parser: LightningArgumentParser, config: Any) -> None:
        if config.trainer.fast_dev_run:
            parser.error("fast_dev_run trains a new network for a few batches and resumes no run: leave it out")
        self.run = Run.open(config.run)
        self.own: dict[str, Any] = configuration.parse(parser, self.run.config.read_text(encoding="utf-8"))
        checkpoint = read_checkpoint(config.ckpt_path)
        if "loops" not in checkpoint:
            parser.error(
                f"the training of {self.run.path} cannot be resumed from {config.ckpt_path}: it holds only weights; resume "
                f"from last.ckpt, or start a new run: --config {quoted(self.run.config)} "
                f"--model.weights {quoted(config.ckpt_path)}"
            )
        # Epochs and steps that are done.
        self.epochs: int = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        self.steps: int = checkpoint["global_step"]
        if config.trainer.precision == "auto":
            config.trainer.precision = self.own["trainer"]["precision"]
        self.changes = find_changes(self.own, configuration.describe(config))
        self._check(parser, config)
        self.given = configuration.describe(config)

    def _check(self, parser: LightningArgumentParser, config: Any) -> None:
        if fixed := self._with(Rule.EQUAL):
            parser.error(self._refusal(fixed[0], "leave it out to resume the run, or"))
        lengths = self._with(Rule.LENGTH)
        if lengths and self.schedule:
            message = self._refusal(lengths[0], f"the schedule {self.schedule} depends on the length of the training;")
            if self.schedule != DEFAULT_SCHEDULE or not self.is_finished:
                parser.error(message)
            # Nobody may have chosen the schedule. The run is complete, and stays as it is.
            warn(message)
            for change in lengths:
                self.changes.remove(change)
                config.trainer[change.setting.removeprefix("trainer.")] = change.own
        for name, done in (("max_epochs", self.epochs), ("max_steps", self.steps)):
            limit = config.trainer[name]
            if limit not in (None, -1) and limit < done and limit != self.own["trainer"][name]:
                parser.error(f"trainer.{name} cannot become {limit}: {done} are done already")

    def _with(self, rule: Rule) -> list[Change]:
        return [change for change in self.changes if change.rule is rule]

    def _refusal(self, change: Change, reason: str) -> str:
        group, _, name = change.setting.partition(".")
        anew = (
            f"start a new run from its weights: --config {quoted(self.run.config)} --model.weights {quoted(self.run.path)}"
        )
        if group == "model" and name not in signature(LitClassifier.__init__).parameters:
            anew = f"start a new run: --config {quoted(self.run.config)}"  # its weights do not fit another network
        return f"{change.setting} of {self.run.path} {change}: {reason} {anew}"

    @property
    def schedule(self) -> str | None:
        """The run's schedule, if it depends on the length of the training."""
        model = self.own["model"].get("init_args", {})
        schedule, warmup_ratio = model.get("schedule", "constant"), model.get("warmup_ratio", 0.0)
        unfreezes = model.get("unfreeze_at") is not None
        if not depends_on_length(schedule, warmup_ratio, model.get("unfreeze_at")):
            return None
        parts = [*(["warm-up"] if warmup_ratio else []), *(["unfreeze_at"] if unfreezes else [])]
        return f"{schedule} with {' and '.join(parts)}" if parts else schedule

    @property
    def is_finished(self) -> bool:
        """Whether the run has reached the length with which it began."""
        length = self.own["trainer"]
        pairs = ((self.epochs, length["max_epochs"]), (self.steps, length["max_steps"]))
        return any(limit not in (None, -1) and done >= limit for done, limit in pairs)

    def describe_longer(self) -> dict[str, Any] | None:
        """The run's own settings with its new length; None if that has not changed."""
        longer = self._with(Rule.LENGTH)
        if not longer:
            return None
        lengths = {change.setting.removeprefix("trainer."): change.given for change in longer}
        return self.own | {"trainer": self.own["trainer"] | lengths}

    def options(self) -> str:
        """The options that the next resume needs again, because its configuration does not have them."""
        changes = [*self._with(Rule.FREE), *self._with(Rule.TIME)]
        plain = {change.setting: change.given for change in changes if isinstance(change.given, str | int | float | None)}
        words = {name: "null" if value is None else shlex.quote(str(value)) for name, value in plain.items()}
        return "".join(f" --{name} {word}" for name, word in words.items())

    def why_finished(self) -> str:
        """Why nothing is left to train."""
        if self.schedule and self.is_finished:
            weights = quoted(self.run.path)
            return f"the schedule {self.schedule} has ended; train further in a new run: --model.weights {weights}"
        given = self.given["trainer"]
        for name, done in (("max_epochs", self.epochs), ("max_steps", self.steps)):
            if given[name] not in (None, -1) and done >= given[name]:
                return f"{name} is {given[name]}; raise --trainer.{name}{' (make: EPOCHS)' if name == 'max_epochs' else ''}"
        if given["max_time"] is not None:
            return f"the time of max_time, {given['max_time']}, is used up; --trainer.max_time null lifts the limit"
        return "a callback has ended the training, such as a Timer whose duration is used up"

    @property
    def lifts_time_limit(self) -> bool:
        """Whether the training had a time limit, and has none any more."""
        return self.own["trainer"].get("max_time") is not None and self.given["trainer"]["max_time"] is None
