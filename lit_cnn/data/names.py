"""What a user calls a dataset. Imports nothing heavy: the commands ask before they load torch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from lit_cnn.data.archive import SUFFIXES, is_archive
from lit_cnn.data.rows import SUFFIXES as TABLES
from lit_cnn.data.rows import is_table
from lit_cnn.system.paths import expand

# Each dataset's class, and its name in experiments/ and runs/. There, a run on a user's folder has the folder's name.
DATASETS = {
    "CIFAR10": "cifar10",
    "CIFAR100": "cifar100",
    "MNIST": "mnist",
    "Digits": "digits",
    "FakeImages": "fake_images",
    "FashionMNIST": "fashion_mnist",
    "ImageFolder": "image_folder",
    "ImageTable": "image_table",
}

# Those of the user's own images.
OWN_IMAGES = ("ImageFolder", "ImageTable")
# Datasets that read no files.
WITHOUT_FILES = ("Digits", "FakeImages")
# Those that are downloaded, all into the same folder.
DOWNLOADED = ("CIFAR10", "CIFAR100", "MNIST", "FashionMNIST")


@dataclass(frozen=True)
class DatasetName:
    """A dataset's class in :mod:`lit_cnn.data`; for a user's own images with their folder, archive or table."""

    class_name: str
    data_dir: str | None = None
    table: str | None = None

    @property
    def arguments(self) -> dict[str, str]:
        """Arguments of the class that follow from the name."""
        given = {"data_dir": self.data_dir, "table": self.table}
        return {name: value for name, value in given.items() if value is not None}

    def has_other_files_than(self, configured: str | None) -> bool:
        """Whether the folder that a configuration gives to data of its class is no folder of these."""
        classes = {self.class_name, self.class_name if configured is None else configured.rpartition(".")[2]}
        return len(classes) > 1 and not classes <= set(DOWNLOADED)

    @property
    def arguments_to_clear(self) -> dict[str, str]:
        """Arguments that would be left from other data, with what they are without them, as on a command line."""
        if self.class_name in OWN_IMAGES:
            return {"data_dir": "null", "manifest": "null"}
        return {"data_dir": "null" if self.class_name in WITHOUT_FILES else "data"}


def find_dataset(name: str) -> DatasetName:
    """Finds the dataset that a user names.

    A class name (``FashionMNIST``) is always the dataset. Another spelling (``fashion_mnist``, ``fashion-mnist``) is the
    dataset unless a folder has that name.

    Args:
        name: A dataset, a folder of class folders, an archive of one, or a table of images. ``~`` is the home folder.

    Raises:
        ValueError: If it is none of these; names the nearest datasets.
    """
    if not name.strip():
        raise ValueError("which data? name a dataset, a folder or an archive")
    if name in DATASETS:
        return DatasetName(name)
    path = expand(name)
    if path.is_dir() or is_archive(path):
        return DatasetName("ImageFolder", str(path))
    if is_table(path):
        return DatasetName("ImageTable", table=str(path))
    if path.is_file():
        raise ValueError(
            f"{path} is a file, but neither an archive ({', '.join(SUFFIXES)}) nor a table ({', '.join(TABLES)}): "
            f"name a folder"
        )
    classes = {_plain(cls): cls for cls in DATASETS}
    if _plain(name) in classes:
        return DatasetName(classes[_plain(name)])
    near = [DATASETS[classes[plain]] for plain in difflib.get_close_matches(_plain(name), classes, n=2)]
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    names = ", ".join(sorted(DATASETS.values()))
    raise ValueError(f"there is no dataset, folder, archive or table {name}; {hint}the datasets are {names}")


def _plain(name: str) -> str:
    """A name without case and separators."""
    return name.lower().replace("-", "").replace("_", "")
