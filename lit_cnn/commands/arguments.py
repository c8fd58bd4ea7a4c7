"""What the commands find on the command line: a run to go on with, and classes that they may import."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import yaml
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lit_cnn.runs.folder import Run

# Processes that a launcher starts for the other devices, and jobs that are started again, find the folder of their run here.
RUN_FOLDER = "LIT_CNN_RUN_FOLDER"


def arguments_of_run(arguments: list[str]) -> list[str]:
    """Adds what ``--run FOLDER`` stands for: its configuration, and the checkpoint to start from.

    ``--ckpt_path last`` and ``best`` are those of the run, which ``--config FOLDER/config.yaml`` names too.

    Raises:
        ValueError: If the folder is not a run or has no such checkpoint.
    """
    folder: str | Path | None = next(reversed(_values(arguments, "--run")), None)
    checkpoint: str | Path | None = next(reversed(_values(arguments, "--ckpt_path")), None)
    named = checkpoint in ("last", "best")
    if folder is None and named:
        configs = [Path(value) for value in _values(arguments, "--config", "-c")]
        folder = next((path.parent for path in configs if path.name == "config.yaml"), None)
        if folder is None:
            raise ValueError(f"--ckpt_path {checkpoint} goes with the config.yaml in a run's folder: --run FOLDER says both")
    if not arguments:
        return arguments
    if folder is None:
        begun = _run_of_restarted_job() if arguments[0] == "fit" else None
        whole = _checkpoint_of(begun, "fit", None) if begun else None
        return [*arguments, f"--ckpt_path={whole}"] if whole else arguments
    command, *rest = arguments
    run = Run.open(folder)
    went_on = _to_go_on_from(run) if command == "fit" and is_restarted_job() else None  # from wherever it had started
    if named or went_on:
        rest = _without(rest, "--ckpt_path")
    if went_on:
        checkpoint = went_on
    elif checkpoint is None or named:
        checkpoint = _checkpoint_of(run, command, checkpoint)
    # Runs from before there was a choice name no precision.
    precision = ["--trainer.precision=32-true"] if command in ("fit", "validate", "test") else []
    start = [f"--ckpt_path={checkpoint}"] if checkpoint else []
    return [command, *precision, f"--config={run.config}", *start, f"--run={run.path}", *rest]


def _checkpoint_of(run: Run, command: str, name: str | None) -> Path | None:
    """The checkpoint of a run that is named ``last`` or ``best``, or that a command takes if none is.

    Raises:
        ValueError: If there is none, unless the run was stopped before it saved anything and is to begin anew.
    """
    if name == "best":
        found = run.best if run.best.is_file() else None
    elif command == "fit":
        found = _to_go_on_from(run)
    elif name == "last":
        found = run.last if run.last.is_file() else None
    else:
        found = run.checkpoint
    if found is None and (name or command != "fit" or run.metrics.exists()):
        raise ValueError(f"the run {run.path} has no checkpoint{f' {name}' if name else ''} in {run.checkpoints}")
    if found is None:
        _warn(f"the run {run.path} was stopped before it saved anything; it begins anew")
    return found


def is_restarted_job() -> bool:
    """Whether SLURM or torchrun started this job once more, with the arguments of the first time."""
    return any(int(os.environ.get(name, "0")) > 0 for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))


def _run_of_restarted_job() -> Run | None:
    if not is_restarted_job():
        return None
    if RUN_FOLDER not in os.environ:
        raise ValueError(f"the job was started again, but the folder of its run is not known: set {RUN_FOLDER}=runs/…")
    return Run(os.environ[RUN_FOLDER])


def _values(arguments: list[str], *options: str) -> list[str]:
    """What is given to an option, as ``--option value`` or ``--option=value``, each time that it is."""
    values: list[str] = []
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        option, equals, attached = argument.partition("=")
        if option in options and (equals or following is not None):
            values.append(attached if equals else str(following))
    return values


def _without(arguments: list[str], option: str) -> list[str]:
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if not skip and argument.partition("=")[0] != option:
            kept.append(argument)
        skip = argument == option and not skip
    return kept


def _to_go_on_from(run: Run) -> Path | None:
    """The last checkpoint of a run; where it is damaged, the one before, which is said.

    Raises:
        ValueError: If neither is whole: what was trained is not to be lost without a word.
    """
    from lit_cnn.runs.checkpoint_file import find_damage, previous

    there = [path for path in (run.last, previous(run.last)) if path.is_file() or path.is_symlink()]
    damage = {path: find_damage(path) for path in there}
    whole = next((path for path in there if damage[path] is None), None)
    found = "; ".join(f"{path} is damaged ({what})" for path, what in damage.items() if what)
    if whole is None:
        if found:
            raise ValueError(f"the run {run.path} cannot go on: {found}")
        return None
    if whole != run.last:
        # Lest it becomes the predecessor of the next. Another process may have been quicker.
        with contextlib.suppress(FileNotFoundError):
            run.last.replace(run.last.with_name("last.damaged.ckpt"))
        _warn(f"{found or f'{run.last} is missing'}; going on from {whole}")
    return whole


@rank_zero_only
def _warn(message: str) -> None:
    print(f"lit-cnn: warning: {message}", file=sys.stderr, flush=True)


def model_options(arguments: list[str]) -> set[str]:
    """Names of the model's arguments that are set on the command line or in the configuration files it names.

    Raises:
        ValueError: If a configuration file is not YAML.
    """
    names: set[str] = set()
    following = [*arguments[1:], ""]
    for argument, value in zip(arguments, following, strict=True):
        option, _, attached = argument.partition("=")
        if option.startswith("--model."):
            names.add(option.rpartition(".")[2])
        elif option in ("--config", "-c") and Path(attached or value).is_file():
            try:
                config = yaml.safe_load(Path(attached or value).read_text())
            except (yaml.YAMLError, UnicodeDecodeError) as error:
                raise ValueError(f"{attached or value} is not a YAML file ({error})") from error
            model = config.get("model") if isinstance(config, dict) else None
            names |= set(model.get("init_args") or ()) if isinstance(model, dict) else set()
    return names
