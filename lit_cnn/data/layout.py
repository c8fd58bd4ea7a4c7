"""Which folders of a user's images are splits and which are classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lit_cnn.data.archive import SUFFIXES as ARCHIVES
from lit_cnn.data.listing import ListedImage, check_spelling, describe_difference
from lit_cnn.data.manifest import first
from lit_cnn.data.scan import LeftOut, Reason, Scan, count_left_out, scan
from lit_cnn.data.splits import SPLITS, Split, split_in_name, split_of_name


@dataclass(frozen=True)
class Layout:
    """The folders of a user's images.

    A split holds class folders, a class holds images. The folder ``train`` is a class if it holds images, no folders of
    images, and lies beside other folders of images.

    Args:
        root: The folder of all images.
        scan: What it holds.
        splits: Name of the folder of each split; empty if the class folders are in the root.
    """

    root: Path
    scan: Scan
    splits: Mapping[Split, str]

    @classmethod
    def of(cls, root: Path) -> Layout:
        """Looks at a folder.

        Raises:
            ValueError: If it is missing or cannot be read, or it is not clear which folders are splits.
        """
        if root.is_file():
            raise ValueError(f"{root} is a file, but no archive ({', '.join(ARCHIVES)}): unpack it, and give its folder")
        if not root.is_dir():
            raise ValueError(
                f"the folder {root.absolute()} does not exist: name the folder of your images with --data.data_dir"
            )
        found = scan(root)
        return cls(root, found, _find_splits(root, found))

    def place(self, split: Split | None) -> Path:
        """The folder of a split's class folders."""
        return self.root if split is None else self.root / self.splits.get(split, split)

    def classes(self, split: Split | None) -> tuple[str, ...]:
        """Names of the class folders of a split, sorted."""
        return tuple(self._classes[split])

    @property
    def images(self) -> list[ListedImage]:
        """The images that have a class, in the order of splits, classes and paths."""
        return [image for split in self._labelled for image in self._images[split]]

    @property
    def left_out(self) -> list[LeftOut]:
        """What is not taken: what the scan leaves out, and images that are in no class folder of a split."""
        taken = {image.path for image in self.images}
        rest = [LeftOut(path, self._why(path)) for path in self.scan.images if path not in taken]
        return rest + self.scan.left_out

    @property
    def _labelled(self) -> list[Split | None]:
        """The splits that have class folders. A test folder may be without: that is an error only in a test.

        One folder in it is a class if it is called like a class of the training images.
        """
        if not self.splits:
            return [None]
        tested = self.classes("test")
        is_labelled = len(tested) > 1 or _has_common(tested, self.classes("train"))
        return [split for split in SPLITS if split in self.splits and (split != "test" or is_labelled)]

    def _why(self, path: str) -> Reason:
        """Why an image is not taken."""
        top, _, inner = path.partition("/")
        if not self.splits or not inner:
            return Reason.NO_CLASS
        if top not in self.splits.values():
            return Reason.NO_SPLIT
        return Reason.NO_CLASS if split_of_name(top) in self._labelled else Reason.UNLABELLED

    def check(self) -> None:
        """Checks that every split with class folders holds images of the same classes.

        Raises:
            ValueError: If one does not; says what to do.
        """
        if not self.splits:
            self._check_nesting()
        elif "train" not in self.splits:
            raise ValueError(
                f"{self.root} holds {' and '.join(self.splits.values())} but no train: "
                f"put the class folders for training below {self.root / 'train'}{self._renaming()}"
            )
        for split in self._labelled:
            self.check_split(split, self.classes(self._labelled[0]))
            self._check_not_empty(split)

    def check_split(self, split: Split | None, expected: tuple[str, ...]) -> None:
        """Checks the class folders of one split.

        Args:
            split: The split; None if there are no splits.
            expected: The classes that it must hold.

        Raises:
            ValueError: If it does not.
        """
        names, place = self.classes(split), self.place(split)
        if len(names) < 2 and (names == expected or not _has_common(names, expected)):
            is_deeper = split is None and len(names) == 1 and not any(image.path.count("/") == 1 for image in self.images)
            hint = (
                f": are they in {place / names[0]}?"
                if is_deeper
                else f": put the images of each class into a folder of its own, like {place}/cat/1.jpg"
            )
            raise ValueError(
                f"{place} holds {len(names)} class folders, but a classifier needs at least two{self._renaming() or hint}"
            )
        check_spelling(place, names)
        if names != expected:
            raise ValueError(f"the class folders of {place} {describe_difference(set(expected), set(names))}")

    def _check_not_empty(self, split: Split | None) -> None:
        names, place, images = self.classes(split), self.place(split), self._images[split]
        if missing := sorted(set(names) - {image.class_name for image in images}):
            path = (place / missing[0]).relative_to(self.root).as_posix()
            if LeftOut(path, Reason.READ_ALREADY) in self.scan.left_out:
                raise ValueError(
                    f"the class folder {place / missing[0]} is a link to a folder that is read at another place: "
                    f"remove the link, or let it lead to the images of this class"
                )
            start = f"{path}/"
            others = [left for left in self.scan.left_out if f"{left.path}/".startswith(start)]
            what = f"; it holds {count_left_out(others)}" if others else ""
            raise ValueError(
                f"the class folder {place / missing[0]} holds no image{what}: add some, or remove it{self._renaming()}"
            )
        depth = 1 if split is None else 2
        if not any(image.path.count("/") == depth for image in images):
            raise ValueError(
                f"the folders {first(names)} in {place} hold folders of images, not images: are the classes one level "
                f"deeper? Splits are called train, val and test{self._renaming()}"
            )

    def _renaming(self) -> str:
        return _describe_renaming([path for path in self.scan.folders if "/" not in path], self.splits)

    def _check_nesting(self) -> None:
        """Refuses splits in the classes, as in ``cat/train``."""
        inner: dict[str, set[str]] = defaultdict(set)
        for path in self.scan.images:
            parts = path.split("/", 2)
            if len(parts) == 3 and split_of_name(parts[1]):
                inner[parts[0]].add(parts[1])
        names = self.classes(None)
        shallow = {image.class_name for image in self.images if image.path.count("/") == 1}
        nested = {image.class_name for image in self.images} - shallow
        meant = {split_in_name(name) for name in names} - {None}
        if len(meant) > 1 and any(split_in_name(name) == "train" for name in nested) and shallow:
            raise ValueError(
                f"{self.root} holds folders of images and folders of classes ({first(names)}): "
                f"splits are called train, val and test{self._renaming()}"
            )
        several = [name for name in names if len({split_of_name(folder) for folder in inner[name]}) > 1]
        if len(names) > 1 and (several or all(inner[name] for name in names)):
            name = (several or names)[0]
            raise ValueError(
                f"{self.root / name} holds {' and '.join(sorted(inner[name]))}: if {name} is a class, move its images to "
                f"{self.root / 'train' / name} and so on; else give the folder {self.root / name}"
            )

    @cached_property
    def _classes(self) -> dict[Split | None, list[str]]:
        """The class folders of each split, or those in the root."""
        found: dict[Split | None, list[str]] = defaultdict(list)
        for split, _, inner in self._by_split(self.scan.folders):
            if "/" not in inner:
                found[split].append(inner)
        return found

    @cached_property
    def _images(self) -> dict[Split | None, list[ListedImage]]:
        """The images in the class folders of each split, or in those in the root."""
        found: dict[Split | None, list[ListedImage]] = defaultdict(list)
        for split, path, inner in self._by_split(self.scan.images):
            if "/" in inner:
                found[split].append(ListedImage(path, inner.partition("/")[0], split))
        return found

    def _by_split(self, paths: Iterable[str]) -> Iterator[tuple[Split | None, str, str]]:
        """The paths in folders of splits, each with its split and with what it is called in the folder of the split."""
        split_of = {folder: split for split, folder in self.splits.items()}
        for path in paths:
            top, _, inner = path.partition("/")
            if not self.splits:
                yield None, path, path
            elif top in split_of and inner:
                yield split_of[top], path, inner


def _describe_renaming(folders: list[str], splits: Collection[Split]) -> str:
    """What to rename, if folders have names that seem to mean splits, beside those that are known; else empty."""
    meant = {folder: split_in_name(folder) for folder in folders if split_of_name(folder) is None}
    hints = [f"{folder} to {split}" for folder, split in meant.items() if split and split not in splits]
    return f"; if these are splits, rename {first(hints)}" if hints else ""


def _has_common(names: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether a name is in both, in upper or lower case."""
    return not {name.casefold() for name in names}.isdisjoint(name.casefold() for name in others)


def _find_splits(root: Path, found: Scan) -> dict[Split, str]:
    """Name of the folder of each split, in the order of the splits; empty if the class folders are in the root."""
    tops = [path for path in found.folders if "/" not in path]
    named = [(split, top) for top in tops if (split := split_of_name(top))]
    if not named:
        return {}
    direct = {path.partition("/")[0] for path in found.images if path.count("/") == 1}  # hold images themselves
    deep = {path.partition("/")[0] for path in found.images if path.count("/") > 1}  # hold folders of images
    others = [top for top in tops if split_of_name(top) is None and (top in direct or top in deep)]
    if others and all(top in direct and top not in deep for _, top in named):
        tests = [top for split, top in named if split == "test"]
        if not tests:
            return {}
        raise ValueError(
            f"{root} holds the folder {tests[0]} beside class folders ({first(others)}): "
            f"rename it if it is a class, else move it out{_describe_renaming(others, [split for split, _ in named])}"
        )
    splits: dict[Split, str] = {}
    for split in SPLITS:
        folders = [top for own, top in named if own == split]
        folders = [top for top in folders if top in direct or top in deep] or folders[:1]
        if len(folders) > 1:
            raise ValueError(f"{root} holds {' and '.join(folders)}, which name the same split: join them, or rename one")
        if folders:
            splits[split] = folders[0]
    if others and set(splits) == {"train"} and direct.intersection(others):
        train = splits["train"]
        raise ValueError(
            f"{root} holds {train} and, beside it, folders of images ({first(others)}): "
            f"if {train} is a class, rename it; if it is a split, move the others out{_describe_renaming(others, splits)}"
        )
    return splits
