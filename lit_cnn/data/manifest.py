"""The manifest of a run's data: which images are in which split, by their content."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lit_cnn.data.splits import SPLITS, Split
from lit_cnn.system.json_files import read_object

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

    def leaks(self, of_groups: bool = False) -> list[str]:
        """Says which images and which groups are in several splits; only splits that are chosen by hand can have them.

        Args:
            of_groups: Says it of groups alone.
        """
        messages = []
        of_images = [] if of_groups else [("image", " = ", "digest")]
        for what, joined, key in (*of_images, ("group", " and ", "group")):
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
    def of_no_files(cls, path: Path) -> Manifest:
        """The manifest of a dataset that is not made of files, in which no file is one of its images.

        Raises:
            ValueError: If it cannot be read.
        """
        content = read_object(path)
        try:
            return cls(str(content["dataset"]), tuple(content["classes"]), int(content["channels"]), ())
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} cannot be read as a manifest of data ({error})") from error

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
