"""What is known of the files of a folder, kept for the next start: only files that changed are read again."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from uuid import uuid4

import PIL
from filelock import FileLock

from lit_cnn.data.depth import Values
from lit_cnn.data.opening import header_of
from lit_cnn.data.reading import DECODING, Reading, values_in
from lit_cnn.system.processors import usable_processors

# Version of the index file. Older ones are made anew.
VERSION = 3
# With what decides whether a file can be decoded.
CURRENT = [VERSION, DECODING, PIL.__version__]
# A file that changed so shortly before the index was written may change again without a new time: its time is too coarse.
COARSE_NS = 20_000_000
# Size to which a file is decoded to see whether it can be decoded at all.
PROBE_SIZE = 64


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known of an image file.

    Args:
        stamp: Size in bytes, time of modification and time of change of status, both in ns. If they are the same, the
            content is taken to be the same.
        digest: Digest of the content, hexadecimal.
        grey: Whether it has one channel, according to its header; None if it has no header of an image.
        values: The values in it, if it has more than 8 bits a value and can be decoded.
        problem: Why it cannot be decoded; empty if it can; None if nobody tried.
    """

    stamp: tuple[int, int, int]
    digest: str
    grey: bool | None
    values: Values | None = None
    problem: str | None = None


class FileIndex:
    """Facts of the image files below a folder, saved in a cache.

    A file is read once. Later starts compare its size and times, and read it again only if they differ. Processes that start
    together wait for the first.

    Args:
        root: The folder. Paths are relative to it.
        cache_dir: Where the index is saved, in a folder ``index``; None to save nothing.
    """

    def __init__(self, root: Path, cache_dir: Path | None) -> None:
        self.root = root
        self.file: Path | None = None
        if cache_dir is not None:
            place = str(root.resolve())
            name = hashlib.blake2b(place.encode(errors="surrogateescape"), digest_size=8).hexdigest()
            self.file = cache_dir / "index" / f"{root.resolve().name[:40]}-{name}.json"

    def facts(self, paths: Sequence[str], decode: bool = False) -> dict[str, FileFacts]:
        """Facts of files, by path.

        Args:
            paths: Relative to the root, with ``/``.
            decode: Whether to find out which files cannot be decoded.

        Raises:
            OSError: If a file cannot be read; names it.
        """
        with self._locked():
            known = self._read()
            stamps = dict(zip(paths, map(self._stamp, paths), strict=True))
            current = {path: known[path] for path in paths if path in known and known[path].stamp == stamps[path]}
            missing = [path for path in paths if path not in current]
            undecoded = [path for path in paths if decode and (path not in current or current[path].problem is None)]
            with ThreadPoolExecutor(usable_processors()) as workers:
                current |= zip(missing, workers.map(self._examine, missing, [stamps[p] for p in missing]), strict=True)
                problems = workers.map(self._problem, undecoded)
                current |= {p: replace(current[p], problem=text) for p, text in zip(undecoded, problems, strict=True)}
            if missing or undecoded:
                self._write({path: facts for path, facts in known.items() if path not in current} | current)
        return {path: current[path] for path in paths}

    def _stamp(self, path: str) -> tuple[int, int, int]:
        status = os.stat(f"{self.root}/{path}")  # noqa: PTH116 - several times as fast as Path
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def _examine(self, path: str, stamp: tuple[int, int, int]) -> FileFacts:
        content = (self.root / path).read_bytes()
        grey = values = None
        with contextlib.suppress(ValueError):
            header = header_of(self.root / path, io.BytesIO(content))
            grey = header.is_grey
            values = values_in(self.root / path) if header.is_deep else None
        return FileFacts(stamp, hashlib.blake2b(content, digest_size=16).hexdigest(), grey, values)

    def _problem(self, path: str) -> str:
        try:
            Reading(PROBE_SIZE, 3).read(self.root / path)
        except ValueError as error:
            cause = error.__cause__
            if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None):
                raise cause from None  # of the machine, not of the file: it may be read the next time
            return str(error)
        return ""

    # The file

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = contextlib.nullcontext()
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                lock = FileLock(self.file.with_suffix(".lock"))
                lock.acquire()
        try:
            yield
        finally:
            if isinstance(lock, FileLock):
                lock.release()

    def _read(self) -> dict[str, FileFacts]:
        if self.file is None:
            return {}
        try:
            trusted = self.file.stat().st_mtime_ns - COARSE_NS
            content = json.loads(self.file.read_text(encoding="utf-8"))
            if content["version"] != CURRENT:
                return {}
            return {
                path: FileFacts((size, modified, changed), digest, grey, values and Values(*values), problem)
                for path, size, modified, changed, digest, grey, values, problem in content["files"]
                if max(modified, changed) < trusted
            }
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # missing or damaged: made anew

    def _write(self, facts: dict[str, FileFacts]) -> None:
        """Writes the index as a whole. Without it the next start reads the files again, so that a failure is no error."""
        if self.file is None:
            return
        partial = self.file.with_suffix(f".{uuid4().hex}")
        rows = [
            [path, *one.stamp, one.digest, one.grey, one.values and astuple(one.values), one.problem]
            for path, one in facts.items()
        ]
        with contextlib.suppress(OSError):
            try:
                partial.write_text(json.dumps({"version": CURRENT, "files": rows}), encoding="utf-8")
                partial.replace(self.file)
            finally:
                partial.unlink(missing_ok=True)
