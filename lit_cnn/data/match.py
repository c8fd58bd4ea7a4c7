"""What has become of the images of a run's manifest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from lit_cnn.data.manifest import Entry, Manifest, count, first
from lit_cnn.data.splits import Split
from lit_cnn.system.text import told_apart


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
        num_in_place: So many of the manifest's images have a file of their name and class, whatever its content and format.
    """

    manifest: Manifest
    lost: dict[Entry, str]
    moved: dict[Entry, Split]
    new: list[str]
    num_in_place: int

    @property
    def is_other_data(self) -> bool:
        """Whether these are images of another dataset: less than half of each split is there."""
        total, lost = (Counter(entry.split for entry in entries) for entries in (self.manifest.entries, self.lost))
        return all(2 * lost[split] > number for split, number in total.items())

    @property
    def is_rewritten(self) -> bool:
        """Whether most files are at their places, though perhaps of other content or in another format."""
        return 2 * self.num_in_place > len(self.manifest.entries)

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
            lost[entry] = "changed" if entry.path in files else "missing"
            if elsewhere:
                before, now = told_apart(entry.class_name, files[elsewhere].class_name)
                lost[entry] = f"now {now}" if now == files[elsewhere].class_name else f"now {now}, before {before}"
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
    places_now = {(_without_ending(path), file.class_name) for path, file in files.items()}
    num_in_place = sum((_without_ending(entry.path), entry.class_name) in places_now for entry in manifest.entries)
    kept = replace(manifest, entries=tuple(entries))
    return Match(kept, lost, moved, [path for path in new if not files[path].is_bad], num_in_place)


def _without_ending(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)
