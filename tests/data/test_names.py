"""From what a user calls the data to the class that reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lit_cnn import data
from lit_cnn.data.names import DATASETS, DatasetName, find_dataset


def test_the_table_holds_every_dataset():
    assert DATASETS.keys() == set(data.__all__) - {"ImageDataModule"}
    of_files = {"ImageFolder": "image_folder", "ImageTable": "image_table"}  # they have the names of folders and tables
    assert {cls: getattr(data, cls).name for cls in DATASETS if cls not in of_files} | of_files == DATASETS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, which is the user's home too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["FashionMNIST", "fashion_mnist", "fashion-mnist", "Fashion-MNIST", "fashionmnist"])
def test_a_dataset_has_several_spellings(name: str):
    assert find_dataset(name) == DatasetName("FashionMNIST", None)


def test_the_class_of_folders_is_a_dataset_too():
    assert find_dataset("ImageFolder") == find_dataset("image_folder") == DatasetName("ImageFolder", None)


@pytest.mark.parametrize("name", ["photos", "photos/", "./photos", "~/photos", "my photos", "photos.zip", "PHOTOS.TAR.GZ"])
def test_a_folder_or_an_archive_is_an_image_folder(folder: Path, name: str):
    (folder / "photos").mkdir()
    (folder / "my photos").mkdir()
    for archive in ("photos.zip", "PHOTOS.TAR.GZ"):
        (folder / archive).touch()
    found = find_dataset(name)
    assert found.class_name == "ImageFolder"
    assert Path(found.data_dir).samefile(Path(name).expanduser())
    assert not found.data_dir.endswith("/")


def test_a_class_wins_over_a_folder_of_its_name_and_another_spelling_does_not(folder: Path):
    for name in ("Digits", "digits"):
        (folder / name).mkdir(exist_ok=True)
    assert find_dataset("Digits") == DatasetName("Digits", None)
    assert find_dataset("digits") == DatasetName("ImageFolder", "digits")
    assert find_dataset("./Digits") == DatasetName("ImageFolder", "Digits")


def test_what_is_not_found_gets_the_nearest():
    with pytest.raises(ValueError, match="there is no dataset, folder, archive or table fashion_mnits") as caught:
        find_dataset("fashion_mnits")
    assert "did you mean fashion_mnist?" in str(caught.value)
    with pytest.raises(ValueError, match="there is no dataset, folder, archive or table pictures/new") as caught:
        find_dataset("pictures/new")
    assert "did you mean" not in str(caught.value)
    assert "cifar10, cifar100, digits" in str(caught.value)


def test_a_file_that_is_no_archive_is_named(folder: Path):
    (folder / "photos.rar").touch()
    with pytest.raises(ValueError, match=r"photos\.rar is a file, but neither an archive \(\.zip, .* nor a table \(\.csv, "):
        find_dataset("photos.rar")


@pytest.mark.parametrize("name", ["", " "])
def test_nothing_is_not_the_current_folder(name: str):
    with pytest.raises(ValueError, match="which data\\? "):
        find_dataset(name)


def test_it_needs_the_standard_library_alone():
    heavy = {"torch", "numpy", "PIL", "pytorch_lightning"}
    program = f"import lit_cnn.data.names, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
