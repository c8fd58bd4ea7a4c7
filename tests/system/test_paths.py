from pathlib import Path

import pytest

from lit_cnn.system.paths import expand


def test_a_tilde_is_the_home_folder_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert expand("~/photos") == tmp_path / "photos"
    (tmp_path / "~draft.jpg").touch()
    assert expand("~draft.jpg") == Path("~draft.jpg")
    with pytest.raises(ValueError, match="~nobody-here/x: there is no such home folder"):
        expand("~nobody-here/x")
