"""The file that a command writes: whole, or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from lit_cnn.errors import Interrupted


def check_output(path: Path) -> None:
    """Refuses a path at which no file can be written.

    Raises:
        ValueError: If its folder does not exist, or it is a folder.
    """
    if not path.absolute().parent.is_dir():
        raise ValueError(f"there is no folder for the output {path}")
    if path.is_dir():
        raise ValueError(f"the output {path} is a folder: name a file in it")


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Opens a text file in UTF-8 for the rows of a table. Names of files keep the bytes that they have on the disk.

    The rows go into a file beside it, whose name ends with ``.partial``. At the end it gets the name that was asked for.
    After an error, Ctrl-C, SIGTERM or SIGHUP it is removed, and an earlier file stays as it was.

    Args:
        path: The file; a device or a pipe is written to at once. None is standard output.

    Raises:
        ValueError: If the file cannot be made.
        OSError: If it cannot be written to its end.
    """
    with _raise_on_signals(), _naming(path):
        if path is None:
            with _open_stdout() as file:
                yield file
        elif path.exists() and not path.is_file():
            with _open(path) as file:
                yield file
        else:
            path = Path(os.path.realpath(path))
            partial = path.with_name(f"{path.name}.partial")
            try:
                with _open(partial) as file:
                    yield file
                if path.exists():
                    shutil.copymode(path, partial)
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise


def _open(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
    except OSError as error:
        raise ValueError(f"the output cannot be written: {error.strerror} ({path})") from error


@contextlib.contextmanager
def _open_stdout() -> Iterator[TextIO]:
    sys.stdout.flush()
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:
        yield sys.stdout
        return
    stream = io.TextIOWrapper(
        binary, encoding="utf-8", errors="surrogateescape", newline="", line_buffering=sys.stdout.isatty()
    )
    try:
        yield stream
    finally:
        stream.detach()


@contextlib.contextmanager
def _naming(path: Path | None) -> Iterator[None]:
    """Names the output when the disk is full: what Python raises names nothing."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        name = "standard output" if path is None else f"the output {path}"
        raise OSError(f"{name} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def _raise_on_signals() -> Iterator[None]:
    """Turns SIGTERM, and SIGHUP of a terminal that is closed, into an exception."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {signum: signal.getsignal(signum) for signum in signals}
    for signum in signals:
        if before[signum] != signal.SIG_IGN:
            signal.signal(signum, _end)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _end(signum: int, _: Any) -> None:
    raise Interrupted(signum)
