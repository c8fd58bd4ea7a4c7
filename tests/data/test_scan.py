"""Which files of a folder are taken as images, and why the others are not."""

import os
import zipfile
from pathlib import Path

import pytest
from conftest import write_photos

from lit_cnn.data import ImageFolder
from lit_cnn.data.scan import LeftOut, Reason, describe_left_out, scan


def touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def reasons(folder: Path) -> dict[str, Reason]:
    return dict(scan(folder).left_out)


def test_every_file_is_taken_or_has_a_reason(tmp_path: Path):
    touch(
        tmp_path, "b/2.PNG", "b/1.jpg", "a/x/1.jpg", "a-b/1.jpg", "a/notes.txt", "a/IMG_1.HEIC", "a/clip.mp4", "a/noending"
    )
    touch(tmp_path, "Thumbs.db", "a/desktop.ini", ".git/config", "a/._1.jpg", "@eaDir/1.jpg", "$RECYCLE.BIN/2.jpg")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    found = scan(tmp_path)
    assert found.images == ["a/x/1.jpg", "a-b/1.jpg", "b/1.jpg", "b/2.PNG"]
    assert found.folders == ["a", "a/x", "a-b", "b"]
    assert found.left_out == sorted(found.left_out, key=lambda left: left.path.split("/"))
    assert dict(found.left_out) == {
        "$RECYCLE.BIN": Reason.SYSTEM,
        ".git": Reason.HIDDEN,
        "@eaDir": Reason.SYSTEM,
        "Thumbs.db": Reason.SYSTEM,
        "a/._1.jpg": Reason.HIDDEN,
        "a/IMG_1.HEIC": Reason.FORMAT,
        "a/clip.mp4": Reason.FORMAT,
        "a/desktop.ini": Reason.SYSTEM,
        "a/noending": Reason.OTHER,
        "a/notes.txt": Reason.OTHER,
        "a/pipe.jpg": Reason.SPECIAL,
    }


def test_links_are_followed_once(tmp_path: Path):
    touch(tmp_path, "photos/a/1.jpg", "photos/b/2.jpg", "elsewhere/more/3.jpg", "elsewhere/one.jpg")
    a = tmp_path / "photos" / "a"
    (a / "more").symlink_to(tmp_path / "elsewhere" / "more")
    (a / "one.jpg").symlink_to(tmp_path / "elsewhere" / "one.jpg")
    (tmp_path / "elsewhere" / "more" / "back").symlink_to(a)
    (a / "0 other class").symlink_to(tmp_path / "photos" / "b")
    (a / "again").symlink_to(tmp_path / "elsewhere" / "more")
    (a / "up").symlink_to(tmp_path)
    (a / "gone.jpg").symlink_to(tmp_path / "nothing")
    (a / "self").symlink_to(a / "self")
    assert scan(tmp_path / "photos").images == ["a/1.jpg", "a/again/3.jpg", "a/one.jpg", "b/2.jpg"]
    assert reasons(tmp_path / "photos") == {
        "a/0 other class": Reason.READ_ALREADY,
        "a/again/back": Reason.CIRCLE,
        "a/gone.jpg": Reason.BROKEN_LINK,
        "a/more": Reason.READ_ALREADY,
        "a/self": Reason.BROKEN_LINK,
        "a/up": Reason.CIRCLE,
    }


def test_a_link_to_what_is_read_already_is_counted(photos: Path):
    (photos / "ant" / "bees").symlink_to(photos / "bee")
    (photos / "ant" / "round").symlink_to(photos / "ant")
    with pytest.warns(UserWarning, match=r"left out: 1 of 61 files \(1 linked a second time\)"):
        ImageFolder(str(photos), image_size=8).counts()


def test_a_class_that_is_a_second_link_to_a_folder_is_refused(tmp_path: Path):
    write_photos(tmp_path / "store", ("a", "b"), 4)
    for name, target in (("a", "a"), ("b", "b"), ("c", "b")):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(tmp_path / "store" / target)
    with pytest.raises(ValueError, match=r"class folder .*data/c is a link to a folder that is read at another place"):
        ImageFolder(str(tmp_path / "data")).counts()


def test_test_images_without_classes_are_counted(tmp_path: Path):
    write_photos(tmp_path / "train", ("a", "b"), 8)
    write_photos(tmp_path, ("test",), 3)
    with pytest.warns(UserWarning, match=r"left out: 3 of 19 files \(3 in a test set without classes\)"):
        ImageFolder(str(tmp_path)).counts()


def test_a_split_may_be_a_link_to_another(tmp_path: Path):
    write_photos(tmp_path / "train", ("a", "b"), 4)
    write_photos(tmp_path / "test", ("a", "b"), 4)
    (tmp_path / "val").symlink_to(tmp_path / "test")
    counts = ImageFolder(str(tmp_path)).counts()
    assert counts == {"train": [4, 4], "val": [4, 4], "test": [4, 4]}


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, "a/1.jpg", "b/locked/1.jpg")
    scandir = os.scandir

    def refuse(path: str):  # chmod does not stop root
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match=r"b/locked cannot be read \(Permission denied\)"):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a/1.heic", "a/2.HEIC", "a/x.txt"], "left out: 3 of 10 files (2 .heic, 1 .txt)"),
        (["a/1"], "left out: 1 of 8 files (1 without an ending)"),
        (
            ["a/1.jpg_large", "a/1.b", "a/1.c", "a/1.d", "a/1.e", "a/1.f"],
            "left out: 6 of 13 files (1 .jpg_large, 1 .b, 1 .c, 1 .d, 2 others)",
        ),
        (["labels.csv", "a/README", "a/1.txt"], ""),
        ([], ""),
    ],
)
def test_what_may_be_missed_is_counted(names: list[str], text: str):
    left_out = [LeftOut(name, Reason.OTHER) for name in names]
    assert describe_left_out([*left_out, LeftOut(".x", Reason.HIDDEN), LeftOut("Thumbs.db", Reason.SYSTEM)], 7) == text


def test_what_a_dataset_leaves_out_is_said_once(photos: Path):
    touch(photos, "ant/a.heic", "ant/b.txt", "loose.jpg", "bee/.hidden.jpg")
    data = ImageFolder(str(photos), image_size=8)
    with pytest.warns(UserWarning, match=r"left out: 3 of 63 files \(1 in no class folder, 1 .heic, 1 .txt\)") as caught:
        data.setup("fit")
    data.setup("test")
    assert len(caught) == 1
    assert [left.path for left in data.left_out] == ["loose.jpg", "ant/a.heic", "ant/b.txt", "bee/.hidden.jpg"]


def test_images_beside_the_splits_are_counted_by_folder(tmp_path: Path):
    write_photos(tmp_path / "train", ("a", "b"), 4)
    write_photos(tmp_path / "val", ("a", "b"), 3)
    write_photos(tmp_path, ("unlabelled",), 2)
    with pytest.warns(UserWarning, match=r"left out: 2 of 16 files \(2 in unlabelled\)"):
        ImageFolder(str(tmp_path)).setup("fit")


def test_what_systems_leave_is_no_class(photos: Path, tmp_path: Path):
    touch(photos, "__MACOSX/ant/._1.jpg", "lost+found/x", "System Volume Information/y.jpg", ".ipynb_checkpoints/z.jpg")
    assert ImageFolder(str(photos)).class_names == ("ant", "bee", "cat")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in photos.rglob("*"):
            archive.write(path, f"holiday/{path.relative_to(photos)}")
        archive.writestr("@eaDir/x.jpg", b"")
    assert ImageFolder(str(tmp_path / "photos.zip"), cache_dir=str(tmp_path / "cache")).class_names == ("ant", "bee", "cat")
