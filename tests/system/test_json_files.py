"""Small JSON files."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from lit_cnn.system.json_files import read_object, write_object


def test_a_file_is_read_as_it_was_written(tmp_path: Path):
    path = tmp_path / "a.json"
    write_object(path, {"a": [1, None], "ü": "\udcff"})
    assert read_object(path) == {"a": [1, None], "ü": "\udcff"}
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.json"
    write_object(path, {"a": 1})

    def fail(*_: object) -> None:
        raise OSError("disk is full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk is full") as error:
        write_object(path, {"a": 2})
    assert error.value.filename == str(path)
    assert read_object(path) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_a_file_system_need_not_write_folders_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fsync = os.fsync

    def of_files_alone(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_alone)
    write_object(tmp_path / "a.json", {"a": 1})
    assert read_object(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"3"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path} is damaged") as error:
        read_object(path)
    assert not isinstance(error.value, json.JSONDecodeError)
