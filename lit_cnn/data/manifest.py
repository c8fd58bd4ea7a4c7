"""The manifest of a run's data: which images are in which split, by their content."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

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
    """

    dataset: str
    class_names: tuple[str, ...]
    channels: int
    entries: tuple[Entry, ...]

    def of(self, *splits: Split) -> list[Entry]:
        """The images of some splits, in order."""
        return [entry for entry in self.entries if entry.split in splits]

    def digest(self, *splits: Split) -> str:
        """One digest over content and class of the images of some splits; names and order do not matter."""
        lines = sorted(f"{entry.digest} {entry.class_name}\n" for entry in self.of(*splits))
        return hashlib.blake2b("".join(lines).encode(errors="surrogateescape"), digest_size=16).hexdigest()

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
            shared = [joined.join(places.values()) for places in found.values() if len(places) > 1]
            if shared:
                messages.append(
                    f"{count(len(shared), what)} in more than one split ({first(shared)}): "
                    f"the network is evaluated on what it was trained on"
                )
        return messages

    def write(self, path: Path) -> None:
        """Writes a JSON file with one line for each image."""
        head = description(self.dataset, self.digest("train", "val"), self.class_names, self.channels, self.counts())
        head |= {"test_digest": self.digest("test"), "columns": COLUMNS}
        lines = ",\n".join(json.dumps(entry) for entry in self.entries)
        path.write_text(json.dumps(head, indent=1)[:-2] + f',\n "files": [\n{lines}\n]}}\n')

    @classmethod
    def read(cls, path: Path) -> Manifest | None:
        """The manifest in a file; None if it describes a dataset that is not made of files.

        Raises:
            ValueError: If the file is missing, damaged or written by a newer version.
        """
        try:
            content = json.loads(path.read_text())
            if content["format"] > FORMAT:
                raise ValueError(f"it has format {content['format']}: update lit-cnn")
            if "files" not in content:
                return None
            entries = tuple(Entry(*row) for row in content["files"])
            return cls(content["dataset"], tuple(content["classes"]), content["channels"], entries)
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


@dataclass(frozen=True)
class Match:
    """What has become of a manifest's images.

    Args:
        manifest: The manifest; images that were renamed have their new paths.
        lost: Images that are not there as they were, each with what is different.
        new: Paths of images that came later.
    """

    manifest: Manifest
    lost: dict[Entry, str]
    new: list[str]

    @property
    def is_other_data(self) -> bool:
        """Whether none of the images is there."""
        return len(self.lost) == len(self.manifest.entries)

    def problem(self, *splits: Split) -> str | None:
        """What is wrong with the images of some splits; None if nothing is."""
        lost = [f"{entry.path} ({what})" for entry, what in self.lost.items() if entry.split in splits]
        if not lost:
            return None
        names = " and ".join({"train": "training", "val": "validation", "test": "test"}[split] for split in splits)
        return f"{len(lost):,} of the run's {len(self.manifest.of(*splits)):,} {names} images differ: {first(lost)}"

    def without_lost(self, *splits: Split) -> Manifest:
        """The manifest without the lost images of some splits."""
        entries = (entry for entry in self.manifest.entries if not (entry in self.lost and entry.split in splits))
        return replace(self.manifest, entries=tuple(entries))


def match(manifest: Manifest, files: Mapping[str, tuple[str, str | None]]) -> Match:
    """Finds a manifest's images among files: by path and content, else by content alone.

    Args:
        manifest: The manifest.
        files: Digest and class of each file that is there now, by path. The class is None where nothing says it.
    """
    places: dict[str, list[str]] = defaultdict(list)  # paths by digest
    for path, (digest, _) in files.items():
        places[digest].append(path)
    entries: list[Entry] = []
    lost: dict[Entry, str] = {}
    for entry in manifest.entries:
        paths = places.get(entry.digest, [])
        fitting = [path for path in paths if files[path][1] in (None, entry.class_name)]
        if entry.path in fitting:
            entries.append(entry)
        elif fitting:
            entries.append(entry._replace(path=fitting[0]))
        else:
            entries.append(entry)
            # If it was moved to another class, its content is somewhere.
            lost[entry] = f"now {files[paths[0]][1]}" if paths else "changed" if entry.path in files else "missing"
    known: Collection[str] = {entry.path for entry in entries}
    known = known | {path for entry in lost for path in places.get(entry.digest, [])}
    return Match(replace(manifest, entries=tuple(entries)), lost, [path for path in files if path not in known])


def count(number: int, noun: str) -> str:
    """A number with its noun: ``1 image``, ``1,200 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def first(names: Iterable[str]) -> str:
    """The first names, and how many there are besides."""
    listed = list(names)
    return ", ".join(listed[:NUM_NAMED]) + (f" and {len(listed) - NUM_NAMED:,} more" if len(listed) > NUM_NAMED else "")
