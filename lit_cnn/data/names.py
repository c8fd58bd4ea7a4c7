"""What a user calls a dataset. Imports nothing heavy: the commands ask before they load torch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from lit_cnn.data.archive import SUFFIXES, is_archive
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
}


@dataclass(frozen=True)
class DatasetName:
    """A dataset's class in :mod:`lit_cnn.data`; for a user's own images with their folder or archive."""

    class_name: str
    data_dir: str | None = None


def find_dataset(name: str) -> DatasetName:
    """Finds the dataset that a user names.

    A class name (``FashionMNIST``) is always the dataset. Another spelling (``fashion_mnist``, ``fashion-mnist``) is the
    dataset unless a folder has that name.

    Args:
        name: A dataset, a folder of class folders, or an archive of one. ``~`` is the home folder.

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
    if path.is_file():
        raise ValueError(f"{path} is a file, but not an archive ({', '.join(SUFFIXES)}): name a folder or an archive")
    classes = {_plain(cls): cls for cls in DATASETS}
    if _plain(name) in classes:
        return DatasetName(classes[_plain(name)])
    near = [DATASETS[classes[plain]] for plain in difflib.get_close_matches(_plain(name), classes, n=2)]
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    names = ", ".join(sorted(DATASETS.values()))
    raise ValueError(f"there is no dataset, folder or archive {name}; {hint}the datasets are {names}")


def _plain(name: str) -> str:
    """A name without case and separators."""
    return name.lower().replace("-", "").replace("_", "")
