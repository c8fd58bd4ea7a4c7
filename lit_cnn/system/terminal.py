"""Standard output and error: readable in any encoding, and no end of a training when nobody can read them."""

from __future__ import annotations

import codecs
import contextlib
import io
import locale
import os
import select
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from lit_cnn.system.processes import handing_on

# What is printed for characters that the encoding of a terminal lacks.
IN_ASCII = {
    "×": "x",
    "·": "|",
    "…": "...",
    "±": "+-",
    "≈": "~",
    "≤": "<=",
    "≥": ">=",
    "–": "-",
    "—": "-",
    "−": "-",
    "→": "->",
    "←": "<-",
    "’": "'",
    "‘": "'",
    "“": '"',
    "”": '"',
    "√": "sqrt",
    "Σ": "sum",
    "⌈": "ceil(",
    "⌉": ")",
    "•": "*",
    "⁄": "/",
    "ß": "ss",
    "ø": "o",
    "Ø": "O",
    "æ": "ae",
    "Æ": "AE",
    "ł": "l",
    "Ł": "L",
    "œ": "oe",
    "Œ": "OE",
    "đ": "d",
    "Đ": "D",
    "ð": "d",
    "Ð": "D",
    "þ": "th",
    "Þ": "Th",
    "ħ": "h",
    "Ħ": "H",
    "ı": "i",
    "ẞ": "SS",
    "€": "EUR",
    "£": "GBP",
    "¥": "JPY",
    "„": '"',
    "«": '"',
    "»": '"',
    "‚": "'",
    "‹": "'",
    "›": "'",
    "‐": "-",
    "≠": "!=",
    "÷": "/",
    "°": " deg",
    "μ": "u",
    "©": "(c)",
    "®": "(R)",
    "¿": "?",
    "¡": "!",
    "█": "#",
    "▏": "|",
    "╸": "-",
    "╺": "-",
}
READABLE = "lit_cnn_readable"  # name of the error handler
NOTICE = "lit-cnn: warning: standard output cannot be written to ({}): the program continues without it"


def in_ascii(text: str) -> str:
    """A text in ASCII: 28x28 for 28×28, accents left out, and escapes for what has no likeness.

    >>> in_ascii("é 28×28… 猫")
    'e 28x28... \\\\u732b'
    """
    return "".join(_in_ascii(character) for character in text)


def _in_ascii(character: str) -> str:
    if character.isascii():
        return character
    if character in IN_ASCII:
        return IN_ASCII[character]
    if "\u2500" <= character <= "\u257f":  # lines of tables and bars
        return "|" if character in "│┃║" else "-" if character in "─━═" else "+"
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    parts = [part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part)]
    likeness = "".join(IN_ASCII.get(part, part) for part in parts)
    return likeness if likeness.isascii() and likeness else character.encode("ascii", "backslashreplace").decode()


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return in_ascii(error.object[error.start : error.end]), error.end


codecs.register_error(READABLE, _replace)


class Output(io.FileIO):
    """A file that is written to until that fails; then what is written is dropped.

    Args:
        descriptor: Of the open file. When writing fails, it becomes that of the null device, also for other processes.
        must_succeed: Whether the first failure is raised.
        notice: Printed to standard error at the first failure, with its reason in place of ``{}``; nothing if not given.
    """

    def __init__(self, descriptor: int, must_succeed: bool = False, notice: str | None = None) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.must_succeed = must_succeed
        self.notice = notice

    def write(self, content: Any) -> int:
        while True:
            try:
                written = super().write(content)
            except OSError as error:
                _open_null(self.fileno())
                if self.must_succeed and isinstance(error, BrokenPipeError):
                    raise
                if self.must_succeed:
                    raise OSError(f"standard output cannot be written to: {error.strerror}") from error
                if self.notice:
                    print(self.notice.format(error.strerror), file=sys.stderr, flush=True)
                return len(memoryview(content).cast("B"))
            if written is not None:
                return written
            select.select([], [self], [])  # a pipe that does not wait, and is full


def use_utf8(program: str) -> None:
    """Starts this program anew in Python's UTF-8 mode, if the locale has another encoding; does nothing otherwise.

    All libraries then read and write files in UTF-8. What is printed keeps the encoding of the locale.

    Args:
        program: Name of the package; nothing is done where another program has imported it.
    """
    words = sys.orig_argv[1:]
    script = next((Path(word).name for word in words if not word.startswith("-")), "")
    if sys.flags.utf8_mode or os.name != "posix" or program not in (script.replace("-", "_"), script):
        return
    if codecs.lookup(locale.getencoding()).name == "utf-8":
        return
    if os.environ.get("PYTHONUTF8") == "1":
        return  # Python ignores it, as with -I, -E and -Xutf8=0: to start anew would change nothing
    encoding = os.environ.get("PYTHONIOENCODING") or getattr(sys.stdout, "encoding", None) or "ascii"
    environment = os.environ | {"PYTHONUTF8": "1", "PYTHONIOENCODING": encoding}
    os.execve(sys.executable, [sys.executable, *words], environment)


def open_missing_streams() -> None:
    """Opens the null device for standard input, output and error where they are closed.

    Otherwise the next file that is opened, such as a checkpoint, would be taken for one of them.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            _open_null(descriptor)
        if getattr(sys, name) is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(descriptor, mode, closefd=False), encoding="utf-8"))


@contextlib.contextmanager
def readable_output(must_succeed: bool) -> Iterator[None]:
    """Lets any text be printed to standard output and error; what a terminal cannot show is replaced.

    An error output that cannot be written to is given up in silence.

    Args:
        must_succeed: Whether a standard output that cannot be written to (nobody reads the pipe, the disk is full) raises an
            OSError. Otherwise it is given up with a warning, and the program continues.
    """
    open_missing_streams()
    originals = sys.stdout, sys.stderr
    sys.stderr = _wrap(sys.stderr, must_succeed=False)
    sys.stdout = _wrap(sys.stdout, must_succeed=must_succeed, notice=None if must_succeed else NOTICE)
    # Processes that are started print the same text, and know nothing of our replacements.
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    for_children = {} if encoding.lower() == "utf-8" else {"PYTHONIOENCODING": f"{encoding}:backslashreplace"}
    try:
        with handing_on(for_children):
            yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        sys.stdout, sys.stderr = originals


def _wrap(stream: TextIO, **options: Any) -> TextIO:
    """The same stream, with an :class:`Output` below it if it is a file."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # of a notebook
    try:
        stream.flush()
        raw = Output(stream.fileno(), **options)
    except (OSError, ValueError):  # no file, or one that is closed or cannot be written to
        stream.reconfigure(errors=READABLE)
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=READABLE,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _open_null(descriptor: int) -> None:
    """Makes a descriptor that of the null device, and hands it to processes that are started."""
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    os.set_inheritable(descriptor, True)
