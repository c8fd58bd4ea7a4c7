"""A user's own folder of images."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lit_cnn.data.archive import is_archive, own_name, temporary_folder, unpack
from lit_cnn.data.files import FileImages
from lit_cnn.data.image_files import ImageFiles
from lit_cnn.data.layout import Layout
from lit_cnn.data.listing import ListedImage, Listing
from lit_cnn.data.scan import describe_left_out
from lit_cnn.data.splits import Split
from lit_cnn.errors import DataWarning


class ImageFolder(ImageFiles):
    """A user's own images, in one folder for each class.

    ``data_dir`` is a folder or an archive (.zip, .tar.gz and others). It holds the class folders, or ``train`` and
    optionally ``val`` and ``test`` with the class folders in each. Splits may also be called ``training``, ``trn``;
    ``valid``, ``validate``, ``validation``, ``eval``, ``evaluation``, ``dev``; ``testing``, ``tst``, in upper or lower
    case. The names of the class folders, sorted, are the class names. A missing ``val`` or ``test`` is drawn from the
    training images, see :class:`lit_cnn.data.image_files.ImageFiles`, which also describes all other arguments.

    Links to folders are followed, to each folder once. Hidden files and what systems leave are no images. A warning counts
    other files that are left out, and ``left_out`` names them.

    Args:
        data_dir: The folder or the archive.

    Raises:
        ValueError: If the folder is missing or holds no class folders, a class has no images or is not in every split, or
            it is not clear which folders are splits.
    """

    def __init__(self, data_dir: str, **kwargs: Any) -> None:
        super().__init__(data_dir, **kwargs)
        self.name = own_name(self.data_dir)
        if is_archive(self.data_dir):
            self.data_dir = unpack(self.data_dir, self.cache_dir or temporary_folder())

    def _list(self) -> Listing:
        layout = self._layout = Layout.of(self.data_dir)
        layout.check()
        return Listing(self._take(layout), frozenset(layout.splits))

    def _list_rest(self) -> list[ListedImage]:
        self._layout = Layout.of(self.data_dir)
        return self._take(self._layout)

    def _take(self, layout: Layout) -> list[ListedImage]:
        """The images of a layout; warns if files are left out that a user may miss."""
        images, self.left_out = layout.images, layout.left_out
        if text := describe_left_out(self.left_out, len(images)):
            rank_zero_warn(f"{text}; lit-cnn doctor names them", category=DataWarning)
        return images

    def check_images(self, stage: str) -> None:
        if stage == "test" and not self.is_pinned:
            names = self.class_names  # lists the folder
            if "test" in self._layout.splits:
                self._layout.check_split("test", names)
        if stage == "test" and not self.manifest.of("test"):
            raise ValueError(f"there are no test images with labels in {self._layout.place('test')}")
        super().check_images(stage)

    def files(self, split: Split) -> FileImages:
        if split == "test":
            self.check_images("test")
        return super().files(split)

    def read(self, split: Split) -> Any:
        if split == "test":
            self.check_images("test")
        return super().read(split)
