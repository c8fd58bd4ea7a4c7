"""Unpacks archives of images. An archive may be hostile: nothing in it is trusted."""

from __future__ import annotations

import atexit
import bz2
import gzip
import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self
from uuid import uuid4

from lit_cnn.data.system_files import is_hidden, is_system
from lit_cnn.system.whole_files import ABANDONED_S

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DECOMPRESSORS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
# Images hardly compress. An archive with a larger ratio was made to fill a disk.
MAX_RATIO = 100
MAX_NUM_FILES = 10_000_000
# Bytes between two files of a tar: headers, for example of long names, and padding.
MAX_HEADER_BYTES = 2**20
CHUNK_BYTES = 2**20
UNPACKING = ".unpacking-"
SIZES = ".unpacked"  # a file in an unpacked folder: what it must hold


def is_archive(path: Path) -> bool:
    """Whether this is a file with one of :data:`SUFFIXES`."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def own_name(path: Path) -> str:
    """Name of a folder or an archive without the ending, for example ``photos`` of ``data/photos.tar.gz``."""
    name = path.resolve().name if path.is_dir() else path.name
    ending = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "") if path.is_file() else ""
    return name[: len(name) - len(ending)] or "images"


@cache
def temporary_folder() -> Path:
    """A folder of this process alone, removed when it ends. Nobody else can put files into it."""
    folder = tempfile.mkdtemp(prefix="lit_cnn_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def unpack(archive: Path, below: Path) -> Path:
    """Unpacks an archive into a new folder, or returns the folder if an archive of the same bytes was unpacked before.

    A folder that lacks some of its files is unpacked again.

    Args:
        archive: A file with one of :data:`SUFFIXES`.
        below: The new folder is made in this one.

    Returns:
        The folder. If it holds a single folder, that one.

    Raises:
        ValueError: If the archive is damaged, holds links, devices or paths that lead out of it, or unpacks to more than
            :data:`MAX_RATIO` times its size or the free space. Nothing is left on the disk.
    """
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:12]
    target = below / f"unpacked-{digest}"
    if not _is_whole(target):
        below.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(below)
        partial = below / f"{UNPACKING}{uuid4().hex}"
        partial.mkdir()
        try:
            _unpack(archive, partial, min(MAX_RATIO * archive.stat().st_size, shutil.disk_usage(below).free))
            (partial / SIZES).write_text(_sizes(partial), encoding="utf-8")
            if not _is_whole(target):  # another process may have unpacked it
                _put_in_place(partial, target)
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError) as error:
            if getattr(error, "errno", None) is not None:
                raise  # an error of the disk, not of the archive
            raise ValueError(f"the archive {archive} cannot be unpacked ({error})") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    content = [path for path in target.iterdir() if not (is_hidden(path.name) or is_system(path.name))]
    return content[0] if len(content) == 1 and content[0].is_dir() else target


def _sizes(folder: Path) -> str:
    """How many files are below the folder, and their bytes."""
    found = ((place, name) for place, _, names in os.walk(folder) for name in names)
    paths = (f"{place}/{name}" for place, name in found if (place, name) != (str(folder), SIZES))
    sizes = [os.stat(path).st_size for path in paths]  # noqa: PTH116 - many times as fast as Path
    return f"{len(sizes)} files, {sum(sizes)} bytes"


def _is_whole(target: Path) -> bool:
    """Whether an unpacked folder has all that it had: a cleaner of caches removes single files."""
    try:
        return (target / SIZES).read_text(encoding="utf-8") == _sizes(target)
    except OSError:
        return False


def _remove_abandoned(below: Path) -> None:
    for partial in below.glob(f"{UNPACKING}*"):
        with suppress(FileNotFoundError):  # another process has just finished it
            if time.time() - partial.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(partial, ignore_errors=True)


def _put_in_place(partial: Path, target: Path) -> None:
    damaged = target.with_name(f"{UNPACKING}{uuid4().hex}")
    with suppress(FileNotFoundError):  # there is none, or another process was quicker
        target.replace(damaged)
    try:
        partial.replace(target)
    except OSError:
        if not _is_whole(target):  # otherwise another process has unpacked it
            raise
    finally:
        shutil.rmtree(damaged, ignore_errors=True)


def _unpack(archive: Path, target: Path, max_bytes: int) -> None:
    total = 0
    for number, (name, size, content) in enumerate(_members(archive)):
        total += size
        if total > max_bytes or number >= MAX_NUM_FILES:
            raise ValueError(
                f"the archive {archive} is refused: it unpacks to more than {max_bytes / 1e9:.2f} GB, "
                f"which is {MAX_RATIO} times its size or all of the free space"
            )
        path = target / _inside(archive, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            left = size
            while left and (chunk := content.read(min(CHUNK_BYTES, left))):
                file.write(chunk)
                left -= len(chunk)
        if left:
            raise ValueError(f"the archive {archive} is damaged: {name} ends too early")


class _Limited:
    """A decompressed tar whose headers may take up to :data:`MAX_HEADER_BYTES`: tarfile reads each whole into memory."""

    def __init__(self, file: BinaryIO, archive: Path) -> None:
        self.file, self.archive = file, archive
        self.left = MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        content = self.file.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise ValueError(
                f"the archive {self.archive} is refused: a header in it takes more than {MAX_HEADER_BYTES:,} bytes"
            )
        return content


class _Member(tarfile.TarInfo):
    """A file in a tar. At a missing or damaged header, tarfile ends as if the archive did; this is an error."""

    @classmethod
    def fromtarfile(cls, opened: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(opened)
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError, tarfile.InvalidHeaderError) as error:
            raise tarfile.ReadError(f"it is damaged or was not copied to its end: {error}") from error


def _opener(archive: Path) -> Callable[..., BinaryIO]:
    """The function that opens a tar, chosen by its first bytes: its name may be wrong."""
    with archive.open("rb") as file:
        start = file.read(6)
    return next((opener for magic, opener in DECOMPRESSORS.items() if start.startswith(magic)), open)


def _inside(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ValueError(f"the archive {archive} is refused: {name!r} leads out of it")
    return path


def _name_in_zip(info: zipfile.ZipInfo) -> str:
    """The name of a file in a zip. That of macOS writes UTF-8 without its mark, which zipfile reads as code page 437."""
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            return info.filename.encode("cp437").decode("utf-8")
    return info.filename


def _members(archive: Path) -> Iterator[tuple[str, int, BinaryIO]]:
    """Name, size and content of each file. Refuses anything but files and folders."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                mode = info.external_attr >> 16
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise ValueError(f"the archive {archive} is refused: {info.filename!r} is a link or a device")
                if not info.is_dir():
                    with opened.open(info) as content:
                        yield _name_in_zip(info), info.file_size, content
        return
    with _opener(archive)(archive, "rb") as file:
        limited = _Limited(file, archive)
        with tarfile.open(fileobj=limited, mode="r|", tarinfo=_Member) as opened:
            for member in opened:
                if not (member.isreg() or member.isdir()):
                    raise ValueError(f"the archive {archive} is refused: {member.name!r} is a link or a device")
                limited.left = member.size + MAX_HEADER_BYTES
                if member.isreg():
                    yield member.name, member.size, opened.extractfile(member)
        while file.read(CHUNK_BYTES):
            pass  # a checksum of a compressed file is compared at its end
