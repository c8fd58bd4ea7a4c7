"""Which images a dataset of files has, and which split each is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.data.division import Drawing
from lit_cnn.data.index import FileFacts, FileIndex
from lit_cnn.data.listing import ListedImage, Listing, channels_of, classes_of, draw_entries, group_images, value_range_of
from lit_cnn.data.manifest import Entry, Manifest, count, first
from lit_cnn.data.match import Found, Match, match
from lit_cnn.data.splits import FRACTION, SPLITS, Split
from lit_cnn.errors import OwnValidationError

# The manifest of the run that new datasets of files follow, see following_run().
run_manifest: ContextVar[Path | None] = ContextVar("run_manifest", default=None)


@contextmanager
def following_run(manifest: Path | None) -> Iterator[None]:
    """Datasets of files that are made in this context use the images and the splits of a run.

    Args:
        manifest: The ``data.json`` of the run; None for no run.
    """
    before = run_manifest.set(manifest)
    try:
        yield
    finally:
        run_manifest.reset(before)


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a dataset of files.

    Args:
        name: Name of the dataset.
        root: The folder that the paths are relative to.
        cache_dir: Where what is known of the files is saved, see :class:`lit_cnn.data.index.FileIndex`.
        skip_bad: Whether files that cannot be decoded are left out; else they are not looked for.
        channels: 1 for grey, 3 for colour; None to find out.
        group_by: Regular expression that finds the group of an image in its path; None for no groups.
        drawing: How splits are drawn.
        split: The arguments by which they are drawn, for the manifest.
    """

    name: str
    root: Path
    cache_dir: Path | None
    skip_bad: bool
    channels: int | None
    group_by: str | None
    drawing: Drawing
    split: dict[str, Any]


class Contents:
    """The images that are there, or those of a run if its manifest is given.

    Args:
        wanted: What is wanted.
        listing: Lists all images and checks the list.
        listing_of_rest: Lists what is there of a run's images, without a check.
        followed: The manifest of a run, whose images and splits are used.
    """

    def __init__(
        self,
        wanted: Wanted,
        listing: Callable[[], Listing],
        listing_of_rest: Callable[[], list[ListedImage]],
        followed: Manifest | None = None,
    ) -> None:
        self.wanted = wanted
        self.followed = followed
        self._list = listing
        self._list_rest = listing_of_rest
        self._warned: set[str] = set()

    @cached_property
    def match(self) -> Match | None:
        """What has become of the images of the run; None if none is followed."""
        if self.followed is None:
            return None
        images = self._list_rest()
        facts = self._facts_of(images)
        files = {
            image.path: Found(facts[image.path].digest, image.class_name, image.split, bool(facts[image.path].problem))
            for image in images
        }
        found = match(self.followed, files)
        if not found.is_other_data:
            self._warn(*found.news())
        return found

    @property
    def is_other_data(self) -> bool:
        """Whether a run is followed and these are images of another dataset. Its own, encoded anew in place, are not."""
        if self.followed is None or self.match is None or not self.match.is_other_data:
            return False
        return self.wanted.name != self.followed.dataset or not self.match.is_rewritten

    @cached_property
    def manifest(self) -> Manifest:
        """All images with their classes and splits; of a run also those that are not there any more."""
        if self.match is None:
            return self._draw()
        return self._take_all() if self.is_other_data else self.match.manifest

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        if self.followed is not None and not self.is_other_data:
            return self.followed.class_names
        return self.manifest.class_names if self.is_other_data else classes_of(self._listing.images)

    def usable(self, *splits: Split, may_skip: bool) -> Manifest:
        """The images that are there as they were; images of other splits may be lost.

        Args:
            splits: What is used.
            may_skip: Whether lost images may be left out, as far as the user wants it.

        Raises:
            ValueError: If images of these splits have changed or are missing.
        """
        if self.match is None or self.is_other_data:
            return self.manifest
        others = self.match.problem(*(split for split in SPLITS if split not in splits))
        problem = self.match.problem(*splits)
        if problem and self.match.is_other_data:  # all but the places of the files
            advice = "put them back, or give the folder, archive or table another name if these are other images"
            raise ValueError(f"{problem}; {advice}")
        if problem and not may_skip:
            raise ValueError(f"{problem}; put them back as they were, or start a new run")
        if problem and not self.wanted.skip_bad:
            raise ValueError(f"{problem}; put them back as they were, or leave them out with --data.on_bad_image skip")
        self._warn(*([f"{problem}; they are left out"] if problem else []), *([others] if others else []))
        return self.match.without_lost()

    @cached_property
    def _listing(self) -> Listing:
        listing = self._list()
        if self.wanted.group_by is None:
            return listing
        return replace(listing, images=group_images(listing.images, self.wanted.group_by))

    def _facts_of(self, images: list[ListedImage]) -> dict[str, FileFacts]:
        index = FileIndex(self.wanted.root, self.wanted.cache_dir)
        return index.facts([image.path for image in images], decode=self.wanted.skip_bad)

    def _take_all(self) -> Manifest:
        """The images of another dataset than that of the run. All test it but those that trained it or chose its checkpoint.

        Where there is a test set that is chosen by hand, its images do.
        """
        assert self.followed is not None
        listed = self._list_rest()
        images = [image for image in listed if image.split == "test"] or listed
        if not images:
            raise ValueError(f"{self.wanted.root} holds no images in class folders")
        facts = self._facts_of(images)
        images = [image._replace(split=None) for image in images if not (self.wanted.skip_bad and facts[image.path].problem)]
        known = {entry.digest for entry in self.followed.of("train", "val")}
        if seen := [image.path for image in images if facts[image.path].digest in known]:
            images = [image for image in images if facts[image.path].digest not in known]
            if not images:
                raise ValueError(f"all images of {self.wanted.root} are training or validation images of the run")
            self._warn(f"{count(len(seen), 'image')} that the run was trained or validated with, left out: {first(seen)}")
        names = tuple(sorted({image.class_name for image in images}))
        channels = self.wanted.channels or channels_of(images, facts)
        entries = (Entry(i.path, facts[i.path].stamp[0], facts[i.path].digest, i.class_name, None, "test") for i in images)
        value_range = value_range_of(images, facts)
        return Manifest(self.wanted.name, names, channels, tuple(entries), self.wanted.split, value_range=value_range)

    def _draw(self) -> Manifest:
        """The manifest of all listed images; splits that are not given by hand are drawn."""
        wanted, listing = self.wanted, self._listing
        facts = self._facts_of(listing.images)
        bad = [path for path, known in facts.items() if known.problem] if wanted.skip_bad else []
        if bad:
            self._warn(f"{len(bad):,} of {len(facts):,} files cannot be decoded and are left out: {first(bad)}")
        without = set(bad)
        images = [image for image in listing.images if image.path not in without]
        names = classes_of(images)
        if empty := [name for name in classes_of(listing.images) if name not in names]:
            raise ValueError(f"no image of the class {empty[0]} can be decoded")
        if "val" in listing.own and wanted.drawing.num_folds is not None:
            raise OwnValidationError(
                "num_folds draws the validation images, but there is a validation set: remove one of the two"
            )
        for split, fraction in (("val", wanted.drawing.val_fraction), ("test", wanted.drawing.test_fraction)):
            if split in listing.own and fraction != FRACTION:
                raise ValueError(f"{split}_fraction={fraction} has no effect beside a {split} set: remove one of the two")
        drawing = replace(
            wanted.drawing,
            test_fraction=None if "test" in listing.own else wanted.drawing.test_fraction,
            val_fraction=None if "val" in listing.own else wanted.drawing.val_fraction,
        )
        channels = wanted.channels or channels_of(images, facts)
        entries = draw_entries(images, facts, drawing)
        left_out = tuple(facts[path].digest for path in bad)
        value_range = value_range_of(images, facts)
        return Manifest(wanted.name, names, channels, entries, wanted.split, left_out, value_range)

    def _warn(self, *messages: str) -> None:
        for message in messages:
            if message not in self._warned:
                self._warned.add(message)
                rank_zero_warn(message)
