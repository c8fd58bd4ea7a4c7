"""A user's own folder of images."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

from lit_cnn.data.archive import is_archive, own_name, unpack
from lit_cnn.data.files import SUFFIXES, FileImages, list_images
from lit_cnn.data.image_files import ImageFiles, ListedImage
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

    def _list(self) -> list[ListedImage]:
        images: list[ListedImage] = []
        for split, folder in self._folders.items():
            images += self._list_below(folder, split if folder != self.data_dir else None)
        return images

    def _classes_by_path(self) -> dict[str, str | None]:
        _check_exists(self.data_dir)
        has_splits = (self.data_dir / "train").is_dir() or (self.data_dir / "test").is_dir()
        found: dict[str, str | None] = {}
        for path in list_images(self.data_dir):
            folders = path.split("/")[:-1]
            classes = folders[1:] if has_splits and folders[:1] in (["train"], ["val"], ["test"]) else folders
            found[path] = classes[0] if classes else None
        return found

    @cached_property
    def _folders(self) -> dict[Split, Path]:
        """Folders of the class folders, by split."""
        if not (self.data_dir / "train").is_dir():
            self._classes_below(self.data_dir)
            return {"train": self.data_dir}
        folders = {split: self.data_dir / split for split in SPLITS if (self.data_dir / split).is_dir()}
        # A test folder may hold images without class folders: that is an error only when they are tested on.
        if "test" in folders and sum(path.is_dir() for path in folders["test"].iterdir()) < 2:
            del folders["test"]
        for folder in folders.values():
            self._check_classes(folder)
        return folders

    @property
    def _has_own_test(self) -> bool:
        return (self.data_dir / "train").is_dir() and (self.data_dir / "test").is_dir()

    def files(self, split: Split) -> FileImages:
        self._check_labelled(split)
        return super().files(split)

    def read(self, split: Split) -> Any:
        self._check_labelled(split)
        return super().read(split)

    def _check_labelled(self, split: Split) -> None:
        if split == "test" and self._pinned is None and self._has_own_test:
            self._check_classes(self.data_dir / "test")

    @staticmethod
    def _classes_below(folder: Path) -> tuple[str, ...]:
        _check_exists(folder)
        names = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))
        if len(names) < 2:
            raise ValueError(
                f"{folder} holds {len(names)} class folders, but a classifier needs at least two: "
                f"put the images of each class into a folder of its own, like {folder}/cat/1.jpg"
            )
        if folder.name != "train" and {"val", "test"} & set(names):
            raise ValueError(
                f"{folder} holds {' and '.join(sorted({'val', 'test'} & set(names)))} but no train: "
                f"put the class folders for training below {folder}/train"
            )
        return names

    def _check_classes(self, folder: Path) -> None:
        own = self._classes_below(self.data_dir / "train" if (self.data_dir / "train").is_dir() else self.data_dir)
        names = self._classes_below(folder)
        if names != own:
            missing, extra = set(own) - set(names), set(names) - set(own)
            raise ValueError(
                f"the class folders of {folder} differ from those of the training images"
                + (f"; missing: {', '.join(sorted(missing))}" if missing else "")
                + (f"; not in training: {', '.join(sorted(extra))}" if extra else "")
            )

    def _list_below(self, folder: Path, split: Split | None) -> list[ListedImage]:
        images: list[ListedImage] = []
        has_direct_images = False
        names = self._classes_below(folder)
        start = "" if folder == self.data_dir else f"{folder.name}/"
        for name in names:
            paths = list_images(folder / name)
            if not paths:
                raise ValueError(f"the class folder {folder / name} holds no image ({', '.join(SUFFIXES)})")
            has_direct_images = has_direct_images or any("/" not in path for path in paths)
            images += [ListedImage(f"{start}{name}/{path}", name, split) for path in paths]
        if not has_direct_images:
            raise ValueError(
                f"the folders {', '.join(names)} in {folder} hold folders of images, not images: "
                f"are the classes one level deeper?"
            )
        return images


def _check_exists(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"the folder {folder} does not exist: name the folder of your images with --data.data_dir")
