"""Checks of the files of an image folder."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from lit_cnn.data.finding import Finding
from lit_cnn.data.image_files import ImageFiles
from lit_cnn.data.preprocess import GREY_MODES, read_image

# So many files are named in a text; the details name all.
NUM_NAMED = 5


@dataclass(frozen=True)
class ScannedFile:
    """An image file and what it holds.

    Args:
        path: The file.
        label: Index of its class.
        split: ``train``, ``val`` or ``test``.
        digest: Digest of its bytes.
        mode: Pillow's mode, for example ``RGB``; None if the file cannot be decoded.
        shape: Width and height in pixels; (0, 0) if the file cannot be decoded.
        problem: Why it cannot be decoded; None if it can.
    """

    path: Path
    label: int
    split: str
    digest: str
    mode: str | None
    shape: tuple[int, int]
    problem: str | None


def scan(data: ImageFiles) -> Iterator[ScannedFile]:
    """Decodes every file of every split."""
    for split in ("train", "val", "test"):
        files = data.files(split)
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            scan_one = partial(_scan_file, split=split, image_size=data.image_size)
            yield from workers.map(scan_one, files.paths, files.labels.tolist())


def _scan_file(path: Path, label: int, split: str, image_size: int) -> ScannedFile:
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    try:
        read_image(path, image_size, 3)
        with Image.open(path) as image:
            return ScannedFile(path, label, split, digest, image.mode, image.size, None)
    except ValueError as error:
        return ScannedFile(path, label, split, digest, None, (0, 0), str(error))


def check_files(files: list[ScannedFile], class_names: tuple[str, ...], image_size: int) -> Iterator[Finding]:
    """Checks whether files can be decoded, occur twice, mix grey and colour, or are small.

    Args:
        files: The files of all splits.
        class_names: Names of the classes.
        image_size: Height and width that the network sees, in pixels.
    """
    broken = [file for file in files if file.problem]
    if broken:
        text = f"{len(broken)} of {len(files)} cannot be decoded: {_first(str(file.path) for file in broken)}"
        text += "; remove them, or leave them out with --data.on_bad_image skip"
        yield Finding("error", "files", text, {"files": {str(file.path): file.problem for file in broken}})
    else:
        yield Finding("ok", "files", f"all {len(files):,} can be decoded")
    readable = [file for file in files if not file.problem]
    yield from _check_duplicates(readable, class_names)
    modes = Counter(file.mode for file in readable)
    is_mixed = len({mode in GREY_MODES for mode in modes}) > 1
    counts = ", ".join(f"{count:,} {mode}" for mode, count in modes.most_common())
    text = f"{counts}: grey and colour are mixed, all are read as colour" if is_mixed else counts
    yield Finding("warning" if is_mixed else "ok", "modes", text, dict(modes))
    small = [file for file in readable if min(file.shape) < image_size]
    if readable:
        sides = sorted(min(file.shape) for file in readable)
        text = f"shorter sides of {sides[0]} to {sides[-1]} pixels, median {sides[len(sides) // 2]}"
        if small:
            text += f"; {len(small):,} are enlarged: they are smaller than the {image_size} pixels that the network sees"
        yield Finding("warning" if small else "ok", "sizes", text, {"files": [str(file.path) for file in small]})


def _check_duplicates(files: list[ScannedFile], class_names: tuple[str, ...]) -> Iterator[Finding]:
    by_digest: dict[str, list[ScannedFile]] = defaultdict(list)
    for file in files:
        by_digest[file.digest].append(file)
    duplicates = [group for group in by_digest.values() if len(group) > 1]
    across_splits = [group for group in duplicates if len({file.split for file in group}) > 1]
    across_classes = [group for group in duplicates if len({file.label for file in group}) > 1]
    for subject, groups, problem in (
        ("duplicates", duplicates, "images occur more than once"),
        ("leakage", across_splits, "images are in more than one split: the network is evaluated on what it was trained on"),
        ("labels", across_classes, "images are in more than one class"),
    ):
        if groups:
            names = _first(" = ".join(str(file.path) for file in group) for group in groups)
            details = {"files": [[str(file.path) for file in group] for group in groups]}
            yield Finding("warning", subject, f"{len(groups)} {problem}: {names}", details)
    if not duplicates:
        yield Finding("ok", "duplicates", f"none in {len(class_names)} classes")


def _first(names: Iterable[str]) -> str:
    """The first :data:`NUM_NAMED` names, and how many there are besides."""
    listed = list(names)
    return ", ".join(listed[:NUM_NAMED]) + (f" and {len(listed) - NUM_NAMED} more" if len(listed) > NUM_NAMED else "")
