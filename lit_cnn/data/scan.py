"""One look at a folder: which files are taken as images, and which are not, with the reason."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from lit_cnn.data.formats import SUFFIXES
from lit_cnn.data.splits import split_of_name
from lit_cnn.data.system_files import is_hidden, is_system

# Endings of images and videos. Those that are not in SUFFIXES are not read.
# fmt: off
PICTURES = frozenset({
    ".3fr", ".ai", ".apng", ".arw", ".avi", ".avif", ".bmp", ".cr2", ".cr3", ".dcm", ".dcr", ".dds", ".dib", ".djvu",
    ".dng", ".emf", ".eps", ".erf", ".exr", ".fits", ".gif", ".hdr", ".heic", ".heif", ".hif", ".ico", ".j2k", ".jfif",
    ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".jxl", ".jxr", ".kdc", ".m4v", ".mkv", ".mov", ".mp4",
    ".mpeg", ".mpg", ".mpo", ".mrw", ".nef", ".nii", ".npy", ".npz", ".nrw", ".orf", ".pbm", ".pcx", ".pef", ".pfm",
    ".pgm", ".png", ".pnm", ".ppm", ".ps", ".psb", ".psd", ".qoi", ".raf", ".raw", ".rw2", ".sr2", ".srf", ".srw",
    ".svg", ".svgz", ".tga", ".tif", ".tiff", ".webm", ".webp", ".wmf", ".wmv", ".x3f", ".xbm", ".xcf", ".xpm",
})
# Endings and names of files that nobody takes for images.
DOCUMENTS = frozenset({
    ".bib", ".cfg", ".conf", ".css", ".csv", ".db", ".doc", ".docx", ".htm", ".html", ".ini", ".ipynb", ".js", ".json",
    ".jsonl", ".lnk", ".log", ".md", ".md5", ".ods", ".odt", ".pdf", ".py", ".rtf", ".sh", ".sha1", ".sha256",
    ".sqlite", ".sum", ".toml", ".tsv", ".txt", ".url", ".xls", ".xlsx", ".xml", ".yaml", ".yml",
})
# fmt: on
DOCUMENT_NAMES = frozenset({"authors", "changelog", "copying", "licence", "license", "makefile", "notice", "readme"})
# So many endings are counted in a message.
NUM_COUNTED = 4


class Reason(Enum):
    """Why a file or folder is left out."""

    HIDDEN = "hidden"
    SYSTEM = "left by the system"
    FORMAT = "in a format that is not read"
    OTHER = "without the ending of an image"
    BROKEN_LINK = "linked to nothing"
    CIRCLE = "linked to a folder above"
    READ_ALREADY = "linked a second time"
    SPECIAL = "neither file nor folder"
    NO_CLASS = "in no class folder"
    UNLABELLED = "in a test set without classes"
    NO_SPLIT = "in no folder of a split"


# What nobody misses, however many there are.
EXPECTED = frozenset({Reason.HIDDEN, Reason.SYSTEM, Reason.CIRCLE})


class LeftOut(NamedTuple):
    """A file that is not taken, or a folder none of whose files are.

    Args:
        path: Relative to the folder that was scanned, with ``/``.
        reason: Why.
    """

    path: str
    reason: Reason

    @property
    def may_be_missed(self) -> bool:
        """Whether a user may take it for an image."""
        if self.reason in EXPECTED:
            return False
        stem, ending = os.path.splitext(self.path.rpartition("/")[2].lower())  # noqa: PTH122 - of a name, not a path
        return self.reason is not Reason.OTHER or not (ending in DOCUMENTS or (stem in DOCUMENT_NAMES and not ending))


@dataclass(frozen=True)
class Scan:
    """What a folder holds.

    Args:
        images: Paths of the image files, relative to the folder, with ``/`` and in order.
        left_out: What is not taken, in order.
        folders: Paths of the folders in it and of the folders in these, in order; also links to folders that are listed at
            another place.
    """

    images: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


def scan(folder: Path) -> Scan:
    """Lists all files below a folder.

    Images are the files whose names end with one of :data:`lit_cnn.data.formats.SUFFIXES`. Hidden files and what systems
    leave are not. Links to folders are followed. Of the folders of each split, and of all others, each is listed once, so
    that links in a circle end.

    Raises:
        ValueError: If the folder does not exist, or one below it cannot be read; names it.
    """
    if not folder.is_dir():
        raise ValueError(f"the folder {folder} does not exist")
    return _Walk(folder).result()


class _Walk:
    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.images: list[str] = []
        self.folders: list[str] = []
        self.left_out: list[LeftOut] = []
        self.links: list[str] = []
        # Of each split, as of all other folders, each folder is listed once: a split may be a link to another.
        self.seen: set[tuple[str | None, int, int]] = set()
        own = folder.resolve()
        # A link to a folder above leads out of the user's images.
        self.above = {_identity(os.stat(place)) for place in (own, *own.parents)}  # noqa: PTH116 - as for entries below

    def result(self) -> Scan:
        self._list_below("")
        # A folder keeps its own place, whatever links to it.
        while self.links:
            links, self.links = sorted(self.links, key=_order), []
            for path in links:
                status = self._status(path)
                if self._leads_up(path, status):
                    self.left_out.append(LeftOut(path, Reason.CIRCLE))
                elif self._is_new(path, status):
                    self._list_below(path)
                else:
                    self._note_folder(path)
                    self.left_out.append(LeftOut(path, Reason.READ_ALREADY))
        left_out = sorted(self.left_out, key=lambda left: _order(left.path))
        return Scan(sorted(self.images, key=_order), left_out, sorted(self.folders, key=_order))

    def _list_below(self, start: str) -> None:
        folders = [start]
        while folders:
            path = folders.pop()
            self._note_folder(path)
            place = os.path.join(self.folder, path) if path else self.folder  # noqa: PTH118 - several times as fast as Path
            try:
                with os.scandir(place) as entries:
                    for entry in entries:
                        inner = f"{path}/{entry.name}" if path else entry.name
                        if is_hidden(entry.name) or is_system(entry.name):
                            reason = Reason.HIDDEN if is_hidden(entry.name) else Reason.SYSTEM
                            self.left_out.append(LeftOut(inner, reason))
                        elif entry.is_symlink():
                            self._take_link(entry, inner)
                        elif entry.is_dir(follow_symlinks=False):
                            # Windows gives entries no number by which a folder is known.
                            if self._is_new(inner, os.stat(entry.path, follow_symlinks=False)):  # noqa: PTH116
                                folders.append(inner)
                        else:
                            self._take_file(entry.name, inner, entry.is_file(follow_symlinks=False))
            except OSError as error:
                raise ValueError(f"the folder {place} cannot be read ({error.strerror or error})") from error

    def _take_link(self, entry: os.DirEntry[str], path: str) -> None:
        try:
            mode = entry.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            mode = 0
        except OSError as error:
            if isinstance(error, PermissionError):
                raise
            mode = 0  # links in a circle
        if stat.S_ISDIR(mode):
            self.links.append(path)
        elif mode:
            self._take_file(entry.name, path, stat.S_ISREG(mode))
        else:
            self.left_out.append(LeftOut(path, Reason.BROKEN_LINK))

    def _take_file(self, name: str, path: str, is_regular: bool) -> None:
        lowered = name.lower()
        if lowered.endswith(SUFFIXES) and is_regular:
            self.images.append(path)
            return
        is_picture = os.path.splitext(lowered)[1] in PICTURES  # noqa: PTH122 - of a name, not a path
        reason = Reason.SPECIAL if not is_regular else Reason.FORMAT if is_picture else Reason.OTHER
        self.left_out.append(LeftOut(path, reason))

    def _note_folder(self, path: str) -> None:
        if path and path.count("/") < 2:
            self.folders.append(path)

    def _status(self, path: str) -> os.stat_result:
        return os.stat(os.path.join(self.folder, path))  # noqa: PTH116, PTH118

    def _leads_up(self, path: str, status: os.stat_result) -> bool:
        """Whether a link leads to a folder that it lies in: its images are listed there, with the same class."""
        parts = path.split("/")
        own = {_identity(self._status("/".join(parts[:depth]))) for depth in range(1, len(parts))}
        return _identity(status) in self.above | own

    def _is_new(self, path: str, status: os.stat_result) -> bool:
        identity = _identity(status)
        key = (split_of_name(path.partition("/")[0]), *identity)
        if identity in self.above or key in self.seen:
            return False
        self.seen.add(key)
        return True


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _order(path: str) -> str:
    """Sorts paths by their parts, as folders are listed."""
    return path.replace("/", "\0")


def list_images(folder: Path) -> list[str]:
    """Paths of all image files below a folder, relative to it, with ``/`` and in order, see :func:`scan`."""
    return scan(folder).images


def describe_left_out(left_out: Iterable[LeftOut], num_taken: int) -> str:
    """Counts what a user may miss: ``left out: 13 of 70 files (10 .heic, 3 .txt)``; empty if there is nothing.

    Args:
        left_out: All that is left out.
        num_taken: Number of the images that are taken.
    """
    listed = [left for left in left_out if left.reason not in EXPECTED]
    if not any(left.may_be_missed for left in listed):
        return ""
    return f"left out: {len(listed):,} of {num_taken + len(listed):,} files ({count_left_out(listed)})"


def count_left_out(left_out: Iterable[LeftOut]) -> str:
    """How many files are left out, by their endings or the reason: ``10 .heic, 3 .txt, 1 linked to nothing``."""
    counts = Counter(_group(left) for left in left_out).most_common()
    named = [f"{number:,} {group}" for group, number in counts[:NUM_COUNTED]]
    others = sum(number for _, number in counts[NUM_COUNTED:])
    return ", ".join([*named, *([f"{others:,} others"] if others else [])])


def _group(left: LeftOut) -> str:
    if left.reason in (Reason.FORMAT, Reason.OTHER):
        return os.path.splitext(left.path.lower())[1] or "without an ending"  # noqa: PTH122
    if left.reason is Reason.NO_SPLIT and "/" in left.path:
        return f"in {left.path.partition('/')[0]}"
    return left.reason.value
