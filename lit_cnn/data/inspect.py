"""Checks of the files of an image folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lit_cnn.data.finding import Finding
from lit_cnn.data.image_files import ImageFiles
from lit_cnn.data.manifest import count, first
from lit_cnn.data.perceptual_hash import MAX_DISTANCE, MIN_SIDE, NUM_BITS, pairs_alike, perceptual_hash
from lit_cnn.data.pixel_checks import NUM_NAMED, ReadFile, check_pixels
from lit_cnn.data.reading import Reading, Resize
from lit_cnn.system.processors import usable_processors

# So many pairs of images that look alike are in the details. A folder of frames of a film has millions.
MAX_PAIRS = 10_000


@dataclass(frozen=True)
class ScannedFile:
    """An image file and what it holds.

    Args:
        path: The file.
        label: Index of its class.
        split: ``train``, ``val`` or ``test``.
        digest: Digest of its bytes.
        read: What it holds; None if it cannot be decoded.
        problem: Why it cannot be decoded; None if it can.
        hash: See :func:`lit_cnn.data.perceptual_hash.perceptual_hash`; None also if it cannot be decoded.
    """

    path: Path
    label: int
    split: str
    digest: str
    read: ReadFile | None
    problem: str | None
    hash: bytes | None = None


def scan_files(data: ImageFiles) -> Iterator[ScannedFile]:
    """Decodes every file of every split."""
    # In colour and large enough for a hash. Bars would hide that an image is of one colour.
    resize: Resize = "squash" if data.reading.resize == "pad" else data.reading.resize
    reading = replace(data.reading, image_size=max(data.image_size, MIN_SIDE), channels=3, resize=resize)
    for split in data.counts():
        files = data.files(split)
        with ThreadPoolExecutor(usable_processors()) as workers:
            scan_one = partial(_scan_file, split=split, reading=reading)
            yield from workers.map(scan_one, files.paths, files.labels.tolist(), files.digests)


def _scan_file(path: Path, label: int, digest: str, split: str, reading: Reading) -> ScannedFile:
    try:
        pixels, facts = reading.examine(path)
    except ValueError as error:
        return ScannedFile(path, label, split, digest, None, str(error))
    is_constant = bool((pixels.amax((1, 2)) == pixels.amin((1, 2))).all())
    return ScannedFile(path, label, split, digest, ReadFile(path, facts, is_constant), None, perceptual_hash(pixels))


def check_files(files: list[ScannedFile], class_names: tuple[str, ...], reading: Reading) -> Iterator[Finding]:
    """Checks whether files can be decoded, occur twice, look alike; and what is left of them when they are read.

    Args:
        files: The files of all splits.
        class_names: Names of the classes.
        reading: How training reads them.
    """
    broken = [file for file in files if file.problem]
    if broken:
        text = f"{len(broken)} of {len(files)} cannot be decoded: {first((str(file.path) for file in broken), NUM_NAMED)}"
        text += "; remove them, or leave them out with --data.on_bad_image skip"
        yield Finding("error", "files", text, {"files": {str(file.path): file.problem for file in broken}})
    else:
        yield Finding("ok", "files", f"all {len(files):,} can be decoded")
    readable = [file for file in files if not file.problem]
    yield from _check_duplicates(readable, class_names)
    yield _check_near_duplicates(readable, class_names)
    yield from check_pixels([file.read for file in files if file.read is not None], reading)


def _check_duplicates(files: list[ScannedFile], class_names: tuple[str, ...]) -> Iterator[Finding]:
    by_digest: dict[str, list[ScannedFile]] = defaultdict(list)
    for file in files:
        by_digest[file.digest].append(file)
    duplicates = [group for group in by_digest.values() if len(group) > 1]
    across_splits = [group for group in duplicates if len({file.split for file in group}) > 1]
    across_classes = [group for group in duplicates if len({file.label for file in group}) > 1]
    for subject, groups, problem in (
        ("duplicates", duplicates, "more than once"),
        ("leakage", across_splits, "in more than one split: the network is evaluated on what it was trained on"),
        ("labels", across_classes, "in more than one class"),
    ):
        if groups:
            names = first((" = ".join(str(file.path) for file in group) for group in groups), NUM_NAMED)
            details = {"files": [[str(file.path) for file in group] for group in groups]}
            yield Finding("warning", subject, f"{count(len(groups), 'image')} {problem}: {names}", details)
    if not duplicates:
        yield Finding("ok", "duplicates", f"none in {len(class_names)} classes")


def _check_near_duplicates(files: list[ScannedFile], class_names: tuple[str, ...]) -> Finding:
    hashed = [file for file in files if file.hash is not None]
    plain = [str(file.path) for file in files if file.hash is None]
    alike = _near_duplicates(hashed)
    pairs = [(hashed[one], hashed[other], distance) for one, other, distance in alike.closest.tolist()]
    details = {
        "pairs": [
            {
                "files": [str(file.path) for file in (one, other)],
                "splits": [one.split, other.split],
                "classes": [class_names[file.label] for file in (one, other)],
                "distance": distance,
            }
            for one, other, distance in pairs
        ],
        "num_pairs": alike.num_pairs,
        "not_compared": plain,
    }
    not_compared = f"; {len(plain):,} without contrast are not compared" if plain else ""
    if not pairs:
        return Finding(
            "ok", "lookalikes", f"none differ in at most {MAX_DISTANCE} of {NUM_BITS} bits{not_compared}", details
        )

    def describe(file: ScannedFile) -> str:
        return f"{file.path} ({file.split}, {class_names[file.label]})"

    named = [f"{describe(one)} ≈ {describe(other)}, distance {distance}" for one, other, distance in pairs[:NUM_NAMED]]
    more = f" and {alike.num_pairs - len(named):,} more" if alike.num_pairs > len(named) else ""
    text = f"{alike.num_pairs:,} pairs of images look alike, {alike.across_splits:,} across splits"
    text += f", {alike.across_classes:,} across classes{not_compared}: {'; '.join(named)}{more}"
    return Finding("warning", "lookalikes", text, details)


@dataclass
class _NearDuplicates:
    """Pairs of files that look alike.

    Args:
        num_pairs: How many there are.
        across_splits: How many of them are in two splits.
        across_classes: How many of them are in two classes.
        closest: Positions of two files and their distance, (MAX_PAIRS, 3) or fewer; those across splits come first.
    """

    num_pairs: int
    across_splits: int
    across_classes: int
    closest: NDArray[np.intp]


def _near_duplicates(files: list[ScannedFile]) -> _NearDuplicates:
    """The pairs among files with a hash. Exact copies are no pairs: they are reported as duplicates."""
    found = _NearDuplicates(0, 0, 0, np.empty((0, 3), np.intp))
    digests = np.unique([file.digest for file in files], return_inverse=True)[1]
    splits = np.unique([file.split for file in files], return_inverse=True)[1]
    labels = np.array([file.label for file in files])
    for one, other, distances in pairs_alike([file.hash for file in files if file.hash is not None]):
        pairs = np.stack([one, other, distances], axis=1)[digests[one] != digests[other]]
        if not len(pairs):
            continue
        found.num_pairs += len(pairs)
        found.across_splits += int(np.count_nonzero(splits[pairs[:, 0]] != splits[pairs[:, 1]]))
        found.across_classes += int(np.count_nonzero(labels[pairs[:, 0]] != labels[pairs[:, 1]]))
        pairs = np.concatenate([found.closest, pairs])
        order = np.lexsort((pairs[:, 2], splits[pairs[:, 0]] == splits[pairs[:, 1]]))
        found.closest = pairs[order[:MAX_PAIRS]]
    return found
