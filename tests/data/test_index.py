"""Facts of files, kept between starts."""

import errno
import os
from pathlib import Path

import pytest

from lit_cnn.data.index import FileIndex
from lit_cnn.data.scan import list_images


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def age(folder: Path) -> None:
    """Makes files and index look old enough that their times can be trusted."""
    for path in folder.rglob("*.*"):
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read as a whole."""
    names: list[str] = []
    read = Path.read_bytes

    def note(path: Path) -> bytes:
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", note)
    return names


def test_a_file_is_read_once(photos: Path, cache: Path, reads: list[str]):
    paths = list_images(photos)
    first = FileIndex(photos, cache).facts(paths)
    assert len(reads) == 60
    age(cache)
    reads.clear()
    assert FileIndex(photos, cache).facts(paths) == first
    assert reads == []


@pytest.mark.parametrize("same_size_and_date", [False, True])
def test_a_changed_file_is_read_again(photos: Path, cache: Path, reads: list[str], same_size_and_date: bool):
    paths = list_images(photos)
    before = FileIndex(photos, cache).facts(paths)
    age(cache)
    victim = photos / "bee" / "3.jpg"
    content, status = victim.read_bytes(), victim.stat()
    victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) + (b"" if same_size_and_date else b"more"))
    if same_size_and_date:
        os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    reads.clear()
    after = FileIndex(photos, cache).facts(paths)
    assert reads == ["3.jpg"]
    assert [path for path in paths if after[path].digest != before[path].digest] == ["bee/3.jpg"]


def test_a_file_that_changed_just_now_is_not_trusted(photos: Path, cache: Path, reads: list[str]):
    FileIndex(photos, cache).facts(list_images(photos))
    (index,) = cache.glob("index/*.json")
    newest = max(path.stat().st_ctime_ns for path in photos.rglob("*.*"))
    os.utime(index, ns=(newest, newest))
    reads.clear()
    FileIndex(photos, cache).facts(list_images(photos))
    assert "19.jpg" in reads


@pytest.mark.parametrize("content", ["", "{", '{"version": [0, 0], "files": []}', "[]"])
def test_a_damaged_index_is_made_anew(photos: Path, cache: Path, content: str):
    first = FileIndex(photos, cache).facts(list_images(photos))
    (index,) = cache.glob("index/*.json")
    index.write_text(content)
    assert FileIndex(photos, cache).facts(list_images(photos)) == first
    age(cache)
    assert index.stat().st_size > 1000


def test_a_cache_that_cannot_be_written_changes_nothing(photos: Path, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    facts = FileIndex(photos, tmp_path / "file").facts(list_images(photos))
    assert facts == FileIndex(photos, None).facts(list_images(photos))
    assert len({known.digest for known in facts.values()}) == 60


def test_whether_a_file_can_be_decoded_is_found_out_once(photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    (photos / "ant" / "0.png").write_bytes(b"no image")
    paths = list_images(photos)
    FileIndex(photos, cache).facts(paths)
    age(cache)
    facts = FileIndex(photos, cache).facts(paths, decode=True)
    assert [path for path in paths if facts[path].problem] == ["ant/0.png"]
    assert facts["ant/0.png"].grey is None
    age(cache)

    def fail(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("lit_cnn.data.reading.Reading.read", fail)
    assert FileIndex(photos, cache).facts(paths, decode=True) == facts


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()], ids=["drive", "memory"])
def test_an_error_of_the_machine_is_not_kept_as_one_of_the_file(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    paths = list_images(photos)

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("lit_cnn.data.reading.Reading.decode", fail)
        with pytest.raises(type(error)):
            FileIndex(photos, cache).facts(paths, decode=True)
    age(cache)
    facts = FileIndex(photos, cache).facts(paths, decode=True)
    assert {known.problem for known in facts.values()} == {""}
