"""Profilers whose reports are kept: in the folder of the run, else on the screen."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning.profilers import AdvancedProfiler, PassThroughProfiler, Profiler, PyTorchProfiler, SimpleProfiler

_CLASSES = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
FILE_NAME = "profile"


def make_profiler(given: Profiler | str | None, folder: Path | None) -> Profiler | None:
    """The profiler that the user asks for; it writes its reports where the user finds them.

    Args:
        given: The profiler, or ``simple``, ``advanced`` or ``pytorch``.
        folder: Folder of the run; None for a dry run, or an evaluation of an unknown run.
    """
    if given is None or isinstance(given, PassThroughProfiler):
        return given
    profiler = _CLASSES[given.lower()]() if isinstance(given, str) else given
    if folder is None and not (profiler.dirpath and profiler.filename):
        # Lightning gives the report to its logger, which the commands silence.
        profiler._rank_zero_info = lambda report: print(report) if profiler.local_rank == 0 else None
        return profiler
    profiler.dirpath = str(profiler.dirpath or folder)
    profiler.filename = profiler.filename or FILE_NAME
    return profiler


def reports(profiler: Profiler) -> list[Path]:
    """The reports of this process, oldest first."""
    if not (profiler.dirpath and profiler.filename):
        return []
    return sorted(Path(profiler.dirpath).glob(f"*{profiler.filename}*.txt"))
