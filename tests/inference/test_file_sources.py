"""Image files as the command line names them."""

import os
from pathlib import Path

import pytest
from conftest import write_photos

from lit_cnn.inference.labels import Agreement, label_folders
from lit_cnn.inference.sources import ListedFile, find_files, piped_files, read_lines

CLASSES = ("ant", "bee")


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder ``new``, with two images of each class, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "new", CLASSES, 2)
    return Path("new")


def names(*given: str, **options: object) -> list[str]:
    source = find_files([Path(one) for one in given], CLASSES, **options)
    listed = [str(file.path) for file in source]
    assert source.count == len(listed)
    return listed


def test_a_pattern_is_the_images_that_match_in_order(new: Path):
    (new / "ant" / ".hidden.png").touch()
    (new / "ant" / "1.txt").touch()
    assert names("new/*/*.png") == ["new/ant/0.png", "new/bee/0.png"]
    assert names("new/**/1.jp[eg]") == ["new/ant/1.jpg", "new/bee/1.jpg"]
    (new / "ant" / "2.heic").touch()
    with pytest.warns(UserWarning, match=r"left out: 2 of 6 files \(1 \.txt, 1 \.heic\), for example ant/2\.heic"):
        assert len(names("new/*/*")) == 4
    assert names(str(new.absolute() / "bee" / "*")) == [str(new.absolute() / "bee" / name) for name in ("0.png", "1.jpg")]


def test_images_below_a_folder_and_of_a_pattern_have_the_labels_of_their_folders(new: Path):
    for given in ("new", "new/*/*.png", "new/**/*.jpg"):
        source = find_files([Path(given)], CLASSES)
        assert source.has_labels
        assert [file.label for file in source] == [file.path.parent.name for file in source]
    assert not find_files([new / "ant"], CLASSES).has_labels


def test_labels_are_the_classes_whichever_way_unicode_spells_them(new: Path):
    (new / "ant").rename(new / "cafe\u0301")
    labels = {file.label for file in find_files([new], ("caf\xe9", "bee"))}
    assert labels == {"caf\xe9", "bee"}
    agreement = Agreement(("caf\xe9", "bee"))
    agreement.add("caf\xe9", "cafe\u0301")
    assert (agreement.right, agreement.known, agreement.unknown) == (1, 1, 0)


def test_a_class_that_is_called_like_a_split_gives_way_to_those_in_it():
    folders = ["train/bus", "train/train", "val/train", "train"]
    assert list(label_folders(folders, ("bus", "train")).values()) == ["bus", "train", "train", "train"]


def test_a_file_may_have_the_name_of_a_pattern(new: Path):
    (new / "a[1].png").write_bytes((new / "ant" / "0.png").read_bytes())
    assert names("new/a[1].png") == ["new/a[1].png"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("none/*.png", r"no file matches none/\*\.png"),
        ("new/*", "no image matches new/.*; it matches folders alone: end it with /.*, or give a folder"),
        ("new/*/*.md", r"no image matches new/\*/\*\.md; it matches 1 \.md"),
        ("new/x.png", r"there is no file or folder new/x\.png"),
    ],
)
def test_a_pattern_without_images_is_refused(new: Path, pattern: str, message: str):
    (new / "ant" / "read.md").touch()
    with pytest.raises(ValueError, match=f"^{message}$"):
        names(pattern)


def test_several_kinds_are_listed_one_after_another(new: Path, tmp_path: Path):
    (tmp_path / "table.csv").write_text("path,label\nnew/bee/0.png,bee\n", encoding="utf-8")
    assert names(str(new / "bee" / "1.jpg"), "new/ant", "table.csv") == [
        "new/bee/1.jpg",
        "new/ant/0.png",
        "new/ant/1.jpg",
        "new/bee/0.png",
    ]
    source = find_files([Path("new/ant/0.png"), Path("table.csv")], CLASSES)
    assert [file.label for file in source] == [None, "bee"]
    assert [file.label for file in source] == [None, "bee"]  # a second time


def test_paths_from_a_pipe_keep_their_bytes():
    reading, writing = os.pipe()
    os.write(writing, b"a b.png\n\ncaf\xe9.png\r\n~/c.png")
    os.close(writing)
    listed = [ListedFile(Path(os.fsdecode(name))) for name in (b"a b.png", b"caf\xe9.png", b"~/c.png")]
    assert list(piped_files(reading)) == listed
    os.close(reading)


def test_another_file_with_the_same_number_is_not_read(tmp_path: Path):
    (tmp_path / "first.txt").write_text("first.png\n", encoding="utf-8")
    (tmp_path / "second.txt").write_text("second.png\n", encoding="utf-8")
    first = os.open(tmp_path / "first.txt", os.O_RDONLY)
    files = piped_files(first)
    second = os.open(tmp_path / "second.txt", os.O_RDONLY)
    os.dup2(second, first)  # the number of the first file is given to the second
    assert list(files) == [ListedFile(Path("first.png"))]
    os.close(first)
    os.close(second)


def test_a_line_is_read_whole_however_it_comes():
    reading, writing = os.pipe()
    lines = read_lines(reading)
    os.write(writing, b"one\ntw")
    assert next(lines) == b"one"
    os.write(writing, b"o\n")
    assert next(lines) == b"two"
    os.close(writing)
    assert list(lines) == []
    os.close(reading)
