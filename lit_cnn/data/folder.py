"""A user's own folder of images."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from lit_cnn.data.archive import is_archive, own_name, unpack
from lit_cnn.data.files import SUFFIXES, FileImages, list_images
from lit_cnn.data.image_files import ImageFiles
from lit_cnn.data.listing import ListedImage, Listing, describe_difference
from lit_cnn.data.splits import SPLITS, Split


class ImageFolder(ImageFiles):
    """A user's own images, in one folder for each class.

    ``data_dir`` is a folder or an archive (.zip, .tar.gz and others). It holds the class folders, or ``train`` and
    optionally ``val`` and ``test`` with the class folders in each. The names of the class folders, sorted, are the class
    names. A missing ``val`` or ``test`` is drawn from the training images, see
    :class:`lit_cnn.data.image_files.ImageFiles`, which also describes all other arguments.

    Args:
        data_dir: The folder or the archive.

    Raises:
        ValueError: If the folder is missing or holds no class folders, or a class has no images or is not in every split.
    """

    def __init__(self, data_dir: str, **kwargs: Any) -> None:
        super().__init__(data_dir, **kwargs)
        self.name = own_name(self.data_dir)
        if is_archive(self.data_dir):
            self.data_dir = unpack(self.data_dir, self.cache_dir or Path(tempfile.gettempdir()))

    def _list(self) -> Listing:
        folders, own = self._layout()
        if not own:
            return Listing(self._check_not_empty(self.data_dir, self._list_below(self.data_dir, None)))
        names = self._classes_below(self.data_dir / "train")
        images: list[ListedImage] = []
        for split, folder in folders.items():
            self._check_classes(folder, names)
            images += self._check_not_empty(folder, self._list_below(folder, split))
        return Listing(images, own)

    def _list_rest(self) -> list[ListedImage]:
        folders, _ = self._layout()
        return [image for split, folder in folders.items() for image in self._list_below(folder, split)]

    def _layout(self) -> tuple[dict[Split | None, Path], frozenset[Split]]:
        """Folders of the class folders by split, and the splits that there are.

        A test folder may hold images without class folders. That is an error only when they are tested on.
        """
        _check_exists(self.data_dir)
        own: dict[Split | None, Path] = {
            split: self.data_dir / split for split in SPLITS if (self.data_dir / split).is_dir()
        }
        if not own:
            return {None: self.data_dir}, frozenset()
        labelled = {split: folder for split, folder in own.items() if split != "test" or len(_folders_in(folder)) > 1}
        return labelled, frozenset(split for split in own if split)

    def check_images(self, stage: str) -> None:
        if stage == "test" and not self.is_pinned and (self.data_dir / "test").is_dir():
            self._check_classes(self.data_dir / "test", self.class_names)
        if stage == "test" and not self.manifest.of("test"):
            raise ValueError(f"there are no test images with labels in {self.data_dir / 'test'}")
        super().check_images(stage)

    def files(self, split: Split) -> FileImages:
        if split == "test":
            self.check_images("test")
        return super().files(split)

    def read(self, split: Split) -> Any:
        if split == "test":
            self.check_images("test")
        return super().read(split)

    def _classes_below(self, folder: Path) -> tuple[str, ...]:
        if folder.name == "train" and not folder.is_dir():
            others = " and ".join(split for split in SPLITS[1:] if folder.with_name(split).is_dir())
            raise ValueError(
                f"{folder.parent} holds {others} but no train: put the class folders for training below {folder}"
            )
        names = _folders_in(folder)
        if len(names) < 2:
            raise ValueError(
                f"{folder} holds {len(names)} class folders, but a classifier needs at least two: "
                f"put the images of each class into a folder of its own, like {folder}/cat/1.jpg"
            )
        return names

    def _check_classes(self, folder: Path, own: tuple[str, ...]) -> None:
        names = self._classes_below(folder)
        if names != own:
            raise ValueError(f"the class folders of {folder} {describe_difference(set(own), set(names))}")

    def _list_below(self, folder: Path, split: Split | None) -> list[ListedImage]:
        start = "" if folder == self.data_dir else f"{folder.name}/"
        return [
            ListedImage(f"{start}{name}/{path}", name, split)
            for name in _folders_in(folder)
            for path in list_images(folder / name)
        ]

    def _check_not_empty(self, folder: Path, images: list[ListedImage]) -> list[ListedImage]:
        names = self._classes_below(folder)
        if missing := sorted(set(names) - {image.class_name for image in images}):
            raise ValueError(f"the class folder {folder / missing[0]} holds no image ({', '.join(SUFFIXES)})")
        depth = 1 if folder == self.data_dir else 2
        if not any(image.path.count("/") == depth for image in images):
            raise ValueError(
                f"the folders {', '.join(names)} in {folder} hold folders of images, not images: "
                f"are the classes one level deeper?"
            )
        return images


def _check_exists(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"the folder {folder} does not exist: name the folder of your images with --data.data_dir")


def _folders_in(folder: Path) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted; hidden ones are left out."""
    if not folder.is_dir():
        return ()
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
