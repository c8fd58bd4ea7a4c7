"""Which run a command means, and which of its checkpoints."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from lit_cnn.commands.command_line import Arguments
from lit_cnn.runs.folder import Run
from lit_cnn.runs.monitor import FIRST_MONITOR, names_monitor
from lit_cnn.runs.search import find_run
from lit_cnn.system.paths import quoted
from lit_cnn.system.processes import RESTARTS, is_first_process, read_number
from lit_cnn.system.text import printable

# Processes that a launcher starts for the other devices, and restarted jobs, find the folder of their run here.
RUN_FOLDER = "LIT_CNN_RUN_FOLDER"
# Processes that Lightning starts for the other devices find here the number of the first process.
LAUNCHER = "LIT_CNN_LAUNCHER"
WEIGHTS = "--model.weights"

# Options of a restarted job that are no part of the run.
OPTIONS_OF_A_RESTARTED_JOB = ("--test_after_fit", "--save_every_minutes", "--save_every_steps", "--compile", "--diagnose")


def expand_run(command: str, arguments: Arguments, runs_dir: str = "runs", may_resume_job: bool = True) -> None:
    """Puts a run's configuration and checkpoint in the place of ``--run``.

    ``--ckpt_path last`` and ``best`` are those of the run, which ``--config FOLDER/config.yaml`` names too. A job that SLURM
    or torchrun has restarted resumes its run.

    Args:
        command: ``fit``, ``validate`` or ``test``.
        arguments: Its options.
        runs_dir: Folder in which the latest run is looked for.
        may_resume_job: See :func:`lit_cnn.commands.arguments.prepare`.

    Raises:
        ValueError: If the folder is not a run or has no such checkpoint.
    """
    _name_latest_weights(arguments, runs_dir)
    folder, checkpoint = arguments.last("--run"), arguments.last("--ckpt_path")
    named = checkpoint in ("last", "best")
    if folder is None and named:
        folder = next((path for path in arguments.values("--config", "-c") if Path(path).name == "config.yaml"), None)
        if folder is None:
            raise ValueError(f"--ckpt_path {checkpoint} needs the run that it belongs to: add --run FOLDER")
    if folder is None:
        # The same command with --seeds finds its runs by itself.
        may_resume_job = may_resume_job and command == "fit" and "--seeds" not in arguments.names
        run = _run_of_restarted_job() if may_resume_job else None
        if run and (checkpoint_of_run := _checkpoint_of(run, "fit", None)):
            # The run describes itself. What was typed may hold a search whose result is used, and where the job started.
            arguments.keep(*OPTIONS_OF_A_RESTARTED_JOB)
            _keep_first_monitor(arguments, run)
            arguments.put_first(config=run.config, ckpt_path=checkpoint_of_run, run=run.path)
        return
    if folder == "latest" and LAUNCHER in os.environ:
        folder = os.environ.get(RUN_FOLDER, folder)  # the first process has found it
    run = find_run(folder, runs_dir)
    if command == "fit" and is_restarted_job() and (resumed_from := _checkpoint_to_resume(run)):
        checkpoint = str(resumed_from)  # whatever the job had started from
    elif checkpoint is None or named:
        match = _checkpoint_of(run, command, checkpoint)
        checkpoint = str(match) if match else None
    arguments.remove("--run", "--ckpt_path")
    if command == "fit":
        _keep_first_monitor(arguments, run)
    arguments.put_first(config=run.config, ckpt_path=checkpoint, run=run.path)


def _name_latest_weights(arguments: Arguments, runs_dir: str) -> None:
    """Puts the folder of the latest run in the place of ``--model.weights latest``.

    The processes for other devices and the further seeds of a study read the command again, when another run is the latest.
    """
    if arguments.last(WEIGHTS) != "latest":
        return
    folder = str(find_run("latest", runs_dir).path)
    arguments.replace(WEIGHTS, {WEIGHTS: folder})
    typed = sys.argv
    for place, word in enumerate(typed):
        if word == f"{WEIGHTS}=latest":
            typed[place] = f"{WEIGHTS}={folder}"
        elif word == "latest" and typed[place - 1] == WEIGHTS:
            typed[place] = folder


def _keep_first_monitor(arguments: Arguments, run: Run) -> None:
    """Keeps the first monitor in a resumed run that is older than ``--monitor``."""
    if run.config.is_file() and not names_monitor(run.config.read_text(encoding="utf-8")):
        arguments.put_first(monitor=FIRST_MONITOR)


def _checkpoint_of(run: Run, command: str, name: str | None) -> Path | None:
    """The checkpoint of a run that is named ``last`` or ``best``, or that a command takes if none is named.

    Returns:
        None if the run was stopped before it saved anything, and begins anew.

    Raises:
        ValueError: If there is no such checkpoint, or it cannot be resumed.
    """
    if command == "fit":
        if name == "best":
            raise ValueError(
                f"{run.best} holds weights alone and cannot be resumed: resume from the last checkpoint (lit-cnn resume "
                f"{quoted(run.path)}), or start a new run from these weights (--model.weights {quoted(run.path)})"
            )
        match = _checkpoint_to_resume(run)
        if reason := run.diverged:
            warn(f"the training of {run.path} diverged earlier, and may diverge again: {reason}")
    else:
        files = {"best": run.best, "last": run.last}
        match = run.checkpoint if name is None else files[name] if files[name].is_file() else None
    # The first line of the metrics is written just before the first checkpoint.
    num_epochs = len(run.read_metrics())
    was_saved = num_epochs > 1 or (num_epochs == 1 and "seconds" in run.read_results())
    if match is None and (name or command != "fit" or was_saved):
        raise ValueError(f"the run {run.path} has no checkpoint{f' {name}' if name else ''} in {run.checkpoints}")
    if match is None:
        warn(f"the run {run.path} was stopped before its first checkpoint; it begins anew")
    return match


def _checkpoint_to_resume(run: Run) -> Path | None:
    """The last checkpoint of a run; the previous one with a warning if the last is damaged.

    Raises:
        ValueError: If both are damaged: no training is lost in silence.
    """
    from lit_cnn.runs.checkpoint_file import find_damage, previous

    files = [path for path in (run.last, previous(run.last)) if path.is_file() or path.is_symlink()]
    damage = {path: find_damage(path) for path in files}
    whole = next((path for path in files if damage[path] is None), None)
    damaged = "; ".join(f"{path} is damaged ({problem})" for path, problem in damage.items() if problem)
    if whole is None:
        if damaged:
            raise ValueError(f"the run {run.path} cannot be resumed: {damaged}")
        return None
    if whole != run.last:
        # So that it is not kept as the previous checkpoint. Another process may have been quicker.
        with contextlib.suppress(FileNotFoundError):
            run.last.replace(run.last.with_name("last.damaged.ckpt"))
        warn(f"{damaged or f'{run.last} is missing'}; resuming from {whole}")
    return whole


def is_restarted_job() -> bool:
    """Whether SLURM or torchrun has restarted this job, with the arguments of the first time."""
    return any(read_number(name, 0) > 0 for name in RESTARTS)


def check_run_folder(arguments: Arguments) -> None:
    """Refuses an environment in which the folder of a new run is named twice, or not at all.

    Args:
        arguments: Of ``fit``.

    Raises:
        ValueError: If :data:`RUN_FOLDER` is empty, or stands beside an option that names the folder too.
    """
    folder = os.environ.get(RUN_FOLDER)
    if folder is None or "--run" in arguments.names:
        return
    if not folder:
        raise ValueError(f"{RUN_FOLDER} is empty: name a folder, or unset it")
    if LAUNCHER in os.environ or is_restarted_job():
        return
    if option := next((name for name in ("--name", "--runs_dir") if name in arguments.names), None):
        raise ValueError(f"{RUN_FOLDER}={folder} is the folder of the run: leave out {option}, or unset {RUN_FOLDER}")


def _run_of_restarted_job() -> Run | None:
    if not is_restarted_job():
        return None
    if RUN_FOLDER not in os.environ:
        raise ValueError(f"this job was restarted, but the folder of its run is not known: set {RUN_FOLDER}=runs/…")
    return Run(os.environ[RUN_FOLDER])


def warn(message: str) -> None:
    """Prints a warning, in the first process alone."""
    if is_first_process():
        print(f"lit-cnn: warning: {printable(message)}", file=sys.stderr, flush=True)
