"""Which folders are splits and which are classes."""

from pathlib import Path

import pytest
from conftest import write_photos

from lit_cnn.data import ImageFolder, ImageTable


def counts(folder: Path) -> dict[str, int]:
    return {split: sum(of_class) for split, of_class in ImageFolder(str(folder)).counts().items()}


def write(root: Path, *folders: str, num_images: int = 4) -> None:
    for folder in folders:
        place = root / folder
        write_photos(place.parent, (place.name,), num_images)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "valid", "test"),
        ("Training", "Validation", "Testing"),
        ("TRAIN", "Val", "Test"),
        ("training", "dev", "testing"),
        ("trn", "Evaluation", "tst"),
    ],
)
def test_splits_by_their_usual_names(tmp_path: Path, train: str, val: str, test: str):
    write(tmp_path, f"{train}/a", f"{train}/b", num_images=5)
    write(tmp_path, f"{val}/a", f"{val}/b", num_images=3)
    write(tmp_path, f"{test}/a", f"{test}/b", num_images=2)
    data = ImageFolder(str(tmp_path))
    assert {split: sum(of_class) for split, of_class in data.counts().items()} == {"train": 10, "val": 6, "test": 4}
    assert {entry.path.split("/")[0] for entry in data.manifest.of("val")} == {val}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train/a", "train/b", "val/a", "val/b", "valid/a", "valid/b"), "val and valid, which name the same split"),
        (("Train/a", "Train/b", "train/a", "train/b"), "Train and train, which name the same split"),
        (("cat", "dog", "valid/cat", "valid/dog"), "holds valid but no train: put the class folders"),
        (("cat", "dog", "Testing/cat", "Testing/dog"), "holds Testing but no train"),
        (("bus", "car", "train/freight", "train/metro"), r"holds train and, beside it, folders of images \(bus, car\): if"),
        (("cat", "dog", "test"), r"holds the folder test beside class folders \(cat, dog\): rename it"),
        (
            ("cat/train", "cat/test", "dog/train", "dog/test"),
            "cat holds test and train: if cat is a class, move",
        ),
        (("images/train/cat", "images/val/cat", "masks/train/cat"), "else give the folder .*images$"),
        (("photos/train/cat", "photos/train/dog"), "are they in .*photos"),
        (("train", "test"), "train holds 0 class folders"),
        (
            ("training_set/cat", "training_set/dog", "test_set/cat", "test_set/dog"),
            "rename test_set to test, training_set to",
        ),
        (("seg_train/cat", "seg_train/dog", "seg_pred", "seg_test"), "rename seg_test to test, seg_train to train"),
        (("train/a", "train/b", "test/a"), "class folders of .*test .*b"),
        (("train/a", "train/b", "test_images"), "move the others out; if these are splits, rename test_images to test$"),
        (("trainset/a", "trainset/b"), "needs at least two; if these are splits, rename trainset to train$"),
        (("train/a", "train/b", "test/A"), "class folders of .*test .*"),
        (("train/a", "train/b", "val/b"), "class folders of .*val .*a"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, folders: tuple[str, ...], message: str):
    write(tmp_path, *folders)
    with pytest.raises(ValueError, match=message):
        ImageFolder(str(tmp_path)).setup("fit")


@pytest.mark.parametrize("name", ["train", "valid", "dev"])
def test_a_class_may_have_the_name_of_a_split(tmp_path: Path, name: str):
    write(tmp_path, "bus", "car", name)
    assert ImageFolder(str(tmp_path)).class_names == tuple(sorted(("bus", "car", name)))


def test_an_empty_folder_is_no_second_name(tmp_path: Path):
    write(tmp_path, "train/a", "train/b")
    (tmp_path / "Training").mkdir()
    assert sum(counts(tmp_path).values()) == 8


def test_a_class_whose_files_are_not_read_is_explained(tmp_path: Path):
    write(tmp_path, "a", "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "1.heic").touch()
    with pytest.raises(ValueError, match=r"class folder .*c holds no image; it holds 1 \.heic"):
        ImageFolder(str(tmp_path)).setup("fit")


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path):
    (tmp_path / "photos.rar").touch()
    with pytest.raises(ValueError, match=r"photos.rar is a file, but no archive \(.zip, "):
        ImageFolder(str(tmp_path / "photos.rar")).setup("fit")


def test_labels_of_a_table_in_two_spellings_are_named(tmp_path: Path):
    write(tmp_path, "a", "b", num_images=3)
    rows = [f"{name}/{number}.{'jpg' if number % 2 else 'png'}" for name in "ab" for number in range(3)]
    labels = ["caf\u00e9"] * 3 + ["cafe\u0301"] * 3
    lines = "".join(f"{path},{label}\n" for path, label in zip(rows, labels, strict=True))
    (tmp_path / "t.csv").write_text(f"path,label\n{lines}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"two classes of .*t.csv differ only in how Unicode spells them"):
        ImageTable(str(tmp_path / "t.csv")).setup("fit")


def test_splits_of_a_table_have_the_names_that_folders_have(tmp_path: Path):
    write(tmp_path, "a", "b", num_images=3)
    splits = ("Training", "dev", "TESTING")
    lines = [f"{name}/{n}.{'jpg' if n % 2 else 'png'},{name},{split}\n" for name in "ab" for n, split in enumerate(splits)]
    (tmp_path / "t.csv").write_text("".join(["path,label,split\n", *lines]))
    assert ImageTable(str(tmp_path / "t.csv")).counts() == {"train": [1, 1], "val": [1, 1], "test": [1, 1]}


def test_unicode_in_two_spellings_is_named(tmp_path: Path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    write(tmp_path / "one", composed, decomposed)
    with pytest.raises(ValueError, match=r"two classes .* differ only in how .*, 'cafe\\u0301' and 'caf\\xe9'"):
        ImageFolder(str(tmp_path / "one")).setup("fit")
    write(tmp_path / "two", f"train/{composed}", "train/b", f"val/{decomposed}", "val/b")
    with pytest.raises(ValueError, match=r"differ from those of the training images in how Unicode spells them"):
        ImageFolder(str(tmp_path / "two")).setup("fit")


@pytest.mark.usefixtures("photos")
def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    data = ImageFolder("~/photos", image_size=8)
    assert data.class_names == ("ant", "bee", "cat")
    assert data.hparams["data_dir"] == "~/photos"
