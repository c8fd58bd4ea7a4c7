"""The manifest of a run's data: which images are in which split, by their content."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from lit_cnn.data.splits import SPLITS, Split

# Name of the file in a run's folder.
FILE_NAME = "data.json"
FORMAT = 1
COLUMNS = ("path", "size", "digest", "class", "group", "split")
# So many files are named in a message.
NUM_NAMED = 3


class Entry(NamedTuple):
    """An image of a manifest.

    Args:
        path: Relative to the folder of the images, with ``/``.
        size: Bytes of the file.
        digest: Digest of its content.
        class_name: Its class.
        group: The group that is never divided between splits; None if there are no groups.
        split: ``train``, ``val`` or ``test``.
    """

    path: str
    size: int
    digest: str
    class_name: str
    group: str | None
    split: Split


@dataclass(frozen=True)
class Manifest:
    """The images of a dataset of files, in order.

    Args:
        dataset: Name of the dataset.
        class_names: Name of each label.
        channels: 1 for grey, 3 for colour.
        entries: The images.
        split: Arguments by which the splits were drawn.
        left_out: Digests of files that could not be decoded.
        value_range: The values of deep training images that become black and white; None if there are no such images.
    """

    dataset: str
    class_names: tuple[str, ...]
    channels: int
    entries: tuple[Entry, ...]
    split: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None

    def of(self, *splits: Split) -> list[Entry]:
        """The images of some splits, in order."""
        return [entry for entry in self.entries if entry.split in splits]

    def digest(self, *splits: Split) -> str:
        """One digest over content and class of the images of some splits; names and order do not matter."""
        lines = sorted(f"{entry.digest} {entry.class_name}\n" for entry in self.of(*splits))
        return hashlib.blake2b("".join(lines).encode(errors="surrogateescape"), digest_size=16).hexdigest()

    def contents(self) -> Counter[tuple[str, str, Split]]:
        """Content, class and split of each image, without names and order."""
        return Counter((entry.digest, entry.class_name, entry.split) for entry in self.entries)

    def counts(self) -> dict[Split, list[int]]:
        """Images of each class, by split; splits without images are left out."""
        label = {name: number for number, name in enumerate(self.class_names)}
        counts: dict[Split, list[int]] = {}
        for entry in self.entries:
            counts.setdefault(entry.split, [0] * len(label))[label[entry.class_name]] += 1
        return {split: counts[split] for split in SPLITS if split in counts}

    def leaks(self) -> list[str]:
        """Says which images and which groups are in several splits; only splits that are chosen by hand can have them."""
        messages = []
        for what, joined, key in (("image", " = ", "digest"), ("group", " and ", "group")):
            found: dict[str, dict[Split, str]] = defaultdict(dict)
            for entry in self.entries:
                if (value := getattr(entry, key)) is not None:
                    found[value].setdefault(entry.split, entry.path)
            crossing = {value: joined.join(places.values()) for value, places in found.items() if len(places) > 1}
            shared = [places if key == "digest" else f"{value}: {places}" for value, places in crossing.items()]
            if shared:
                messages.append(
                    f"{count(len(shared), what)} in more than one split ({first(shared)}): "
                    f"the network is evaluated on what it was trained on"
                )
        return messages

    def write(self, path: Path) -> None:
        """Writes a JSON file with one line for each image."""
        head = description(self.dataset, self.digest("train", "val"), self.class_names, self.channels, self.counts())
        head |= {"test_digest": self.digest("test"), "split": self.split, "left_out": self.left_out, "columns": COLUMNS}
        head |= {} if self.value_range is None else {"value_range": self.value_range}
        lines = ",\n".join(json.dumps(entry) for entry in self.entries)
        path.write_text(json.dumps(head, indent=1)[:-2] + f',\n "files": [\n{lines}\n]}}\n', encoding="utf-8")

    @classmethod
    def of_files(cls, path: Path) -> Manifest:
        """The manifest of a dataset of files.

        Raises:
            ValueError: If it cannot be read, or is not of files.
        """
        manifest = cls.read(path)
        if manifest is None:
            raise ValueError(f"{path} is the manifest of a dataset that is not made of files")
        return manifest

    @classmethod
    def read(cls, path: Path) -> Manifest | None:
        """The manifest in a file; None if it describes a dataset that is not made of files.

        Raises:
            ValueError: If the file is missing, damaged or written by a newer version.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] > FORMAT:
                raise ValueError(f"it has format {content['format']}: update lit-cnn")
            if "files" not in content:
                return None
            entries = tuple(Entry(*row) for row in content["files"])
            own = content["dataset"], tuple(content["classes"]), content["channels"]
            value_range = None if content.get("value_range") is None else tuple(map(float, content["value_range"]))
            return cls(*own, entries, content.get("split", {}), tuple(content.get("left_out", ())), value_range)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} cannot be read as a manifest of data ({error})") from error


def description(
    dataset: str, digest: str, class_names: Sequence[str], channels: int, counts: Mapping[Split, list[int]]
) -> dict[str, object]:
    """What a manifest says of any dataset.

    Args:
        dataset: Its name.
        digest: Digest of the training and validation images with their labels.
        class_names: Name of each label.
        channels: 1 for grey, 3 for colour.
        counts: Images of each class, by split.
    """
    return {
        "format": FORMAT,
        "dataset": dataset,
        "digest": digest,
        "classes": list(class_names),
        "channels": channels,
        "counts": {split: sum(of_class) for split, of_class in counts.items()},
    }


def beside(checkpoint: str | Path) -> Path | None:
    """The manifest of the run to which a checkpoint belongs; None if there is none."""
    path = Path(checkpoint).parent.parent / FILE_NAME
    return path if path.is_file() else None


class Found(NamedTuple):
    """A file that is there now.

    Args:
        digest: Digest of its content.
        class_name: Its class.
        split: The split that it is put into by hand; None if it is not.
        is_bad: Whether it cannot be decoded.
    """

    digest: str
    class_name: str
    split: Split | None = None
    is_bad: bool = False


@dataclass(frozen=True)
class Match:
    """What has become of a manifest's images.

    Args:
        manifest: The manifest; images that were renamed have their new paths.
        lost: Images that are not there as they were, each with what is different.
        moved: Images that were put into another split by hand, each with that split.
        new: Paths of images that came later.
    """

    manifest: Manifest
    lost: dict[Entry, str]
    moved: dict[Entry, Split]
    new: list[str]

    @property
    def is_other_data(self) -> bool:
        """Whether these are images of another dataset: less than half of each split is there."""
        total, lost = (Counter(entry.split for entry in entries) for entries in (self.manifest.entries, self.lost))
        return all(2 * lost[split] > number for split, number in total.items())

    def news(self) -> list[str]:
        """Says which images came later and which were moved to another split, of which the run takes no notice."""
        messages = []
        if self.new:
            messages.append(f"{count(len(self.new), 'image')} added after the run began, left out: {first(self.new)}")
        if self.moved:
            moved = [f"{entry.path} ({entry.split}, now in {split})" for entry, split in self.moved.items()]
            messages.append(f"{count(len(moved), 'image')} moved to another split; the run keeps its own: {first(moved)}")
        return messages

    def problem(self, *splits: Split) -> str | None:
        """What is wrong with the images of some splits; None if nothing is."""
        lost = [f"{entry.path} ({what})" for entry, what in self.lost.items() if entry.split in splits]
        if not lost:
            return None
        names = " and ".join({"train": "training", "val": "validation", "test": "test"}[split] for split in splits)
        return f"{len(lost):,} of the run's {len(self.manifest.of(*splits)):,} {names} images differ: {first(lost)}"

    def without_lost(self) -> Manifest:
        """The manifest without the lost images."""
        return replace(self.manifest, entries=tuple(entry for entry in self.manifest.entries if entry not in self.lost))


def match(manifest: Manifest, files: Mapping[str, Found]) -> Match:
    """Finds a manifest's images among files: by path and content, else by content alone.

    Args:
        manifest: The manifest.
        files: The files that are there now, by path.
    """
    own = {e.path for e in manifest.entries if e.path in files and files[e.path][:2] == (e.digest, e.class_name)}
    places: dict[str, list[str]] = defaultdict(list)  # paths by digest, those of the manifest first
    for path in sorted(files, key=lambda path: path not in own):
        places[files[path].digest].append(path)
    chosen_by_hand = {file.split for file in files.values()}
    entries: list[Entry] = []
    lost: dict[Entry, str] = {}
    moved: dict[Entry, Split] = {}
    known: set[str] = set()
    for entry in manifest.entries:
        paths = [entry.path] if entry.path in own else places.get(entry.digest, [])
        fitting = next((path for path in paths if files[path].class_name == entry.class_name), None)
        if fitting is None:
            elsewhere = next((path for path in paths if path not in own), None)
            lost[entry] = (
                f"now {files[elsewhere].class_name}" if elsewhere else "changed" if entry.path in files else "missing"
            )
            known |= {entry.path, *paths}
            entries.append(entry)
            continue
        known.add(fitting)
        entry = entry._replace(path=fitting)  # noqa: PLW2901 - it may have been renamed
        entries.append(entry)
        split = files[fitting].split
        if files[fitting].is_bad:
            lost[entry] = "cannot be decoded"
        elif split and split != entry.split and (split != "train" or entry.split in chosen_by_hand):
            moved[entry] = split
    new = [path for path, file in files.items() if path not in known and file.digest not in manifest.left_out]
    return Match(replace(manifest, entries=tuple(entries)), lost, moved, [p for p in new if not files[p].is_bad])


def count(number: int, noun: str) -> str:
    """A number with its noun: ``1 image``, ``1,200 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def first(names: Iterable[str], num_named: int = NUM_NAMED) -> str:
    """The first names, and how many there are besides."""
    listed = list(names)
    return ", ".join(listed[:num_named]) + (f" and {len(listed) - num_named:,} more" if len(listed) > num_named else "")


def describe_unevaluated(class_names: Sequence[str], counts: Mapping[Split, list[int]]) -> str:
    """Says which classes of the training images have none in another split; empty if there is none.

    Args:
        class_names: Name of each label.
        counts: Images of each class, by split.
    """
    nouns = {"val": "validation", "test": "test"}
    training = counts.get("train", [])
    lacking = {
        name: [f"no {nouns[split]} image" for split, numbers in counts.items() if split != "train" and not numbers[label]]
        for label, (name, number) in enumerate(zip(class_names, training, strict=False))
        if number
    }
    named = [f"{name} ({' and '.join(missing)})" for name, missing in lacking.items() if missing]
    if not named:
        return ""
    many = "1 class has" if len(named) == 1 else f"{len(named):,} classes have"
    return f"{many} too few images to be evaluated: {first(named)}"
