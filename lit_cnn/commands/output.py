"""The file that a command writes: whole, or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from lit_cnn.errors import Interrupted

# Names of open files, for example /dev/stdout, which is a link to one of them.
DESCRIPTOR = re.compile(rf"/(?:dev|proc/(?:self|thread-self|{os.getpid()}))/fd/(\d+)")
MAX_LINKS = 40  # of links to links, as in Linux


def check_output(path: Path) -> None:
    """Refuses a path at which no file can be written.

    Raises:
        ValueError: If its folder does not exist or cannot be written into, or it is a folder.
    """
    if _descriptor_of(path) is not None:
        return
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        link = f": it is a link to {target}" if path.is_symlink() else ""
        raise ValueError(f"there is no folder for the output {path}{link}")
    if path.is_dir():
        raise ValueError(f"the output {path} is a folder: name a file in it")
    if is_replaced(path) and not os.access(target.parent, os.W_OK):
        raise ValueError(f"the output cannot be written: its folder is read-only ({path})")


def check_page(path: Path) -> None:
    """Refuses a path at which no page can be written, before anything is computed.

    Raises:
        ValueError: See :func:`check_output`. Also for a name that does not end with ``.html``: no other file is replaced by
            mistake.
    """
    check_output(path)
    if path.suffix.lower() != ".html":
        raise ValueError(f"--output {path} is no name of a page: name a file that ends with .html")


def write_page(path: Path, text: str) -> None:
    """Writes a page, whole or not at all."""
    with open_output(path) as file:
        file.write(text)


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Opens a text file in UTF-8 for the rows of a table. Names of files keep the bytes that they have on the disk.

    The rows go into a hidden file beside it, of a name of its own. At the end it gets the name that was asked for.
    After an error, Ctrl-C, SIGTERM or SIGHUP it is removed, and an earlier file stays as it was.

    Args:
        path: The file; a device, a pipe, or a file that is open for output already, such as ``/dev/stdout``, is written to
            at once, after what it holds. None is standard output.

    Raises:
        ValueError: If the file cannot be made.
        OSError: If it cannot be written to its end.
    """
    with raise_on_signals(), _naming(path):
        descriptor = 1 if path is None else _descriptor_of(path)
        if path is None or descriptor == 1:
            with _open_stdout() as file:
                yield file
        elif not is_replaced(path):
            with _open(path, "w", path if descriptor is None else descriptor) as file:
                yield file
        else:
            with _new_file(path) as partial, _open(path, "x", partial) as file:
                yield file


@contextlib.contextmanager
def open_binary_output(path: Path) -> Iterator[BinaryIO]:
    """Opens a file as :func:`open_output` does, for bytes.

    Args:
        path: A file that :func:`is_replaced`.
    """
    with raise_on_signals(), _naming(path), _new_file(path) as partial:
        try:
            file = partial.open("xb")
        except OSError as error:
            raise ValueError(f"the output cannot be written: {error.strerror} ({path})") from error
        with file:
            yield file


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A hidden name beside a file, which replaces the file at the end, or is removed."""
    target = Path(os.path.realpath(path))
    # Two programs may write the same file: the last that ends replaces what the other wrote.
    partial = target.with_name(f".lit_cnn-{secrets.token_hex(8)}.partial")
    try:
        yield partial
        if target.exists():
            shutil.copymode(target, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def is_replaced(path: Path) -> bool:
    """Whether the rows go into a new file, which then takes this name."""
    return _descriptor_of(path) is None and (path.is_file() or not path.exists())


def _descriptor_of(path: Path) -> int | None:
    """The number of the open file that a path means: by its name, or as the file that standard output or error is."""
    place = os.path.abspath(path)  # noqa: PTH100 - without following links
    for _ in range(MAX_LINKS):
        if named := DESCRIPTOR.fullmatch(place):
            return int(named[1])
        if not os.path.islink(place):  # noqa: PTH114
            break
        place = os.path.abspath(os.path.join(os.path.dirname(place), os.readlink(place)))  # noqa: PTH100, PTH115, PTH118, PTH120
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if path.is_file() and os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
    return None


def _open(path: Path, mode: str, file: Path | int) -> TextIO:
    """Opens the file, or a copy of the descriptor, into which the rows for ``path`` go."""
    try:
        opened = os.dup(file) if isinstance(file, int) else file
        return open(opened, mode, encoding="utf-8", errors="surrogateescape", newline="")  # noqa: PTH123 - or a descriptor
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
def raise_on_signals() -> Iterator[None]:
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
