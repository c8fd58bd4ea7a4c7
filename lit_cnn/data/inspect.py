"""What the files of a folder of images hold, and what is doubtful about them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from lit_cnn.data.folder import ImageFolder
from lit_cnn.data.preprocess import GREY_MODES, read_image

Level = Literal["error", "warning", "ok"]
NUM_NAMED = 5


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Args:
        level: ``error`` if training would fail, ``warning`` if its result would be doubtful.
        about: What was looked at.
        text: What was found.
        details: Names of files and numbers, for programs.
    """

    level: Level
    about: str
    text: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScannedFile:
    """A file of a split; ``digest`` is of its bytes, ``problem`` why it cannot be decoded."""

    path: Path
    label: int
    split: str
    digest: str
    mode: str | None  # of Pillow; None where the file cannot be decoded
    shape: tuple[int, int]  # width, height
    problem: str | None


def scan(data: ImageFolder) -> Iterator[ScannedFile]:
    """Decodes every file of every split."""
    for split in ("train", "val", "test"):
        files = data.files(split)
        if files is None:
            continue
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            look = partial(_look, split=split, image_size=data.image_size)
            yield from workers.map(look, files.paths, files.labels.tolist())


def _look(path: Path, label: int, split: str, image_size: int) -> ScannedFile:
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    try:
        read_image(path, image_size, 3)
        with Image.open(path) as image:
            return ScannedFile(path, label, split, digest, image.mode, image.size, None)
    except ValueError as error:
        return ScannedFile(path, label, split, digest, None, (0, 0), str(error))


def about_files(files: list[ScannedFile], data: ImageFolder, size: int) -> Iterator[Finding]:
    """What is doubtful about the files of a folder for a network that sees ``size`` pixels."""
    bad = [file for file in files if file.problem]
    if bad:
        text = f"{len(bad)} of {len(files)} cannot be decoded: {_few(str(file.path) for file in bad)}"
        text += "; remove them, or leave them out with --data.on_bad_image skip"
        yield Finding("error", "files", text, {"files": {str(file.path): file.problem for file in bad}})
    else:
        yield Finding("ok", "files", f"all {len(files):,} can be decoded")
    good = [file for file in files if not file.problem]
    yield from _about_duplicates(good, data.class_names)
    modes = Counter(file.mode for file in good)
    mixed = len({mode in GREY_MODES for mode in modes}) > 1
    listed = ", ".join(f"{count:,} {mode}" for mode, count in modes.most_common())
    text = f"{listed}: grey and colour are mixed, all are read as colour" if mixed else listed
    yield Finding("warning" if mixed else "ok", "modes", text, dict(modes))
    small = [file for file in good if min(file.shape) < size]
    if good:
        sides = sorted(min(file.shape) for file in good)
        text = f"shorter sides of {sides[0]} to {sides[-1]} pixels, {sides[len(sides) // 2]} in the middle"
        if small:
            text += f"; {len(small):,} are smaller than the {size} that the network sees and are enlarged"
        yield Finding("warning" if small else "ok", "sizes", text, {"files": [str(file.path) for file in small]})


def _about_duplicates(files: list[ScannedFile], class_names: tuple[str, ...]) -> Iterator[Finding]:
    groups: dict[str, list[ScannedFile]] = defaultdict(list)
    for file in files:
        groups[file.digest].append(file)
    several = [group for group in groups.values() if len(group) > 1]
    across = [group for group in several if len({file.split for file in group}) > 1]
    labelled = [group for group in several if len({file.label for file in group}) > 1]
    for about, found, what in (
        ("duplicates", several, "files come more than once"),
        ("leakage", across, "files are in more than one split, so that what trained is used to judge"),
        ("labels", labelled, "files are in more than one class"),
    ):
        if found:
            named = _few(" = ".join(str(file.path) for file in group) for group in found)
            details = {"files": [[str(file.path) for file in group] for group in found]}
            yield Finding("warning", about, f"{len(found)} {what}: {named}", details)
    if not several:
        yield Finding("ok", "duplicates", f"none among {len(class_names)} classes")


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:NUM_NAMED]) + (f" and {len(listed) - NUM_NAMED} more" if len(listed) > NUM_NAMED else "")
