"""Image files as a user of the command line names them: folders, tables, patterns, files, or a list that is piped in."""

from __future__ import annotations

import glob
import io
import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.data.formats import SUFFIXES
from lit_cnn.data.rows import is_table
from lit_cnn.data.scan import LeftOut, Reason, count_left_out, describe_left_out
from lit_cnn.data.system_files import is_hidden
from lit_cnn.inference.inputs import files_in, images_in
from lit_cnn.inference.labels import label_folders

# Bytes that are read from a pipe at a time.
CHUNK = 2**16


class ListedFile(NamedTuple):
    """An image file, with the label that it brings with it; None if there is none.

    Args:
        path: The file.
        label: Of a table, or the name of a folder.
        below: The path below the folder that was given, with ``/``; None if it was not found in one.
    """

    path: Path
    label: str | None = None
    below: str | None = None


@dataclass(frozen=True)
class FileSource:
    """Image files in the order in which they are given.

    Args:
        files: Lists them, each time it is called; of a pipe, once.
        count: How many there are; None if that is not known before the end.
        has_labels: Whether they may have labels.
    """

    files: Callable[[], Iterator[ListedFile]]
    count: int | None
    has_labels: bool = False

    def __iter__(self) -> Iterator[ListedFile]:
        return self.files()


def find_files(
    images: Sequence[Path], class_names: Collection[str], data_dir: Path | None = None, must_exist: bool = True
) -> FileSource:
    """Lists the image files that are meant.

    Labels are those of a table, or the names of folders, see :func:`lit_cnn.inference.labels.label_folders`.

    Args:
        images: Folders, tables, image files, and patterns such as ``photos/*.jpg``.
        class_names: Names of the classes.
        data_dir: Folder that the paths in tables are relative to; that of the table if not given.
        must_exist: Whether a missing file in a table is an error.

    Raises:
        ValueError: If there is no image, or something cannot be read; names it.
    """
    sources = [_find(path, class_names, data_dir, must_exist) for path in images]
    counts = [source.count or 0 for source in sources]
    return FileSource(
        lambda: itertools.chain.from_iterable(sources), sum(counts), any(source.has_labels for source in sources)
    )


def piped_files(descriptor: int) -> FileSource:
    """The files whose paths come from a pipe, one a line. Names keep the bytes that they have on the disk.

    Args:
        descriptor: Number of the open file. It may be closed, and given to another file, while the paths are read.
    """
    pipe = io.FileIO(os.dup(descriptor))  # closed when the paths are read

    def files() -> Iterator[ListedFile]:
        with pipe:
            yield from (ListedFile(Path(os.fsdecode(line))) for line in read_lines(pipe.fileno()))

    return FileSource(files, None)


def read_lines(descriptor: int) -> Iterator[bytes]:
    """The lines that are not empty, as they come.

    They are read from the descriptor: a thread that waits for a line in one of Python's buffers would keep the program from
    ending.
    """
    rest = b""
    while chunk := os.read(descriptor, CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in map(_without_return, lines) if line)
    if rest := _without_return(rest):
        yield rest


def _without_return(line: bytes) -> bytes:
    return line.removesuffix(b"\r")


def _find(path: Path, class_names: Collection[str], data_dir: Path | None, must_exist: bool) -> FileSource:
    if is_table(path):
        return _find_in_table(path, data_dir, must_exist)
    if path.is_dir():
        return _below(path, images_in(path), class_names)
    if path.is_file():
        return FileSource(lambda: iter([ListedFile(path)]), 1)
    if is_pattern(path):
        root = fixed_part(path)
        return _below(root, _matches(path, root), class_names)
    raise ValueError(f"there is no file or folder {path}")


def _find_in_table(table: Path, data_dir: Path | None, must_exist: bool) -> FileSource:
    labels = [bool(label) for _, label in files_in(table, data_dir, must_exist)]
    return FileSource(
        lambda: (ListedFile(*found) for found in files_in(table, data_dir, must_exist=False)), len(labels), any(labels)
    )


def _below(root: Path, names: list[str], class_names: Collection[str]) -> FileSource:
    """Files in a folder; only their names are held.

    Args:
        root: The folder.
        names: Paths relative to it, with ``/``.
        class_names: Names of the classes.
    """
    labels = label_folders((name.rpartition("/")[0] for name in names), class_names)

    def files() -> Iterator[ListedFile]:
        for name in names:
            yield ListedFile(root / name, labels[name.rpartition("/")[0]], name)

    return FileSource(files, len(names), any(labels.values()))


def is_pattern(path: Path) -> bool:
    """Whether a path has one of the characters that stand for others."""
    return glob.has_magic(str(path))


def fixed_part(pattern: Path) -> Path:
    """The folder in which all matches of a pattern lie."""
    parts = itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts)
    return Path(*parts)


def _matches(pattern: Path, root: Path) -> list[str]:
    """The image files that match, relative to ``root``, in the order in which folders are listed.

    Raises:
        ValueError: If there are none.
    """
    found = {match.relative_to(root): match.is_file() for match in root.glob(str(pattern.relative_to(root)))}
    files = {path.as_posix() for path, is_file in found.items() if is_file and not any(map(is_hidden, path.parts))}
    images = {name for name in files if name.lower().endswith(SUFFIXES)}
    others = [LeftOut(name, Reason.OTHER) for name in sorted(files - images)]
    if not images:
        if not found:
            raise ValueError(f"no file matches {pattern}")
        what = count_left_out(others) if others else "folders alone: end it with /*, or give a folder"
        raise ValueError(f"no image matches {pattern}; it matches {what}")
    if text := describe_left_out(others, len(images)):
        rank_zero_warn(f"{text}, for example {next(left.path for left in others if left.may_be_missed)}")
    return sorted(images, key=_parts)


def _parts(name: str) -> list[str]:
    return name.split("/")


def except_for(output: Path, files: Iterable[ListedFile]) -> Iterator[ListedFile]:
    """Passes files on.

    Raises:
        ValueError: If one of them is the output.
    """
    replaced = output.stat()
    for file in files:
        if _is(file.path, replaced):
            raise ValueError(f"--output {output} would replace {file.path}, which is read: name another file")
        yield file


def _is(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), status)
    except OSError:  # there is no such file
        return False
