"""The folder of explanations: only what the command wrote is replaced, and only by what is whole."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from lit_cnn.analysis.explanations import write_sheet
from lit_cnn.commands.explained_folder import GENERATOR, PAGE, check_folder, new_content, picture_name


def write(folder: Path, names: Sequence[str], text: bytes = b"ours") -> None:
    """Writes pictures and their page."""
    for name in names:
        (folder / name).write_bytes(text)
    (folder / PAGE).write_text(write_sheet("What it sees", "a network", [], 0, GENERATOR, names), encoding="utf-8")


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("index.html", "<!DOCTYPE html><title>My photographs</title>"),
        ("index.html", '<meta name="generator" content="Hugo"><meta name="picture" content="0000-a-cam.png">'),
        ("2024-05-01-front-cam.png", "mine"),
        ("0000-a-cam.png", "mine"),
    ],
)
def test_files_of_others_are_refused(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"holds other files, for example {name}: name an empty folder, or a new one"):
        check_folder(tmp_path, [])


@pytest.mark.parametrize("name", ["new", "new/deeper", "."])
def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr("os.access", lambda path, _: Path(path) != tmp_path)  # root may write anywhere
    with pytest.raises(ValueError, match="the output cannot be written: its folder is read-only"):
        check_folder(tmp_path / name, [])


def test_a_picture_that_the_page_does_not_name_is_of_others(tmp_path: Path):
    write(tmp_path, ["0000-a-cam.png"])
    check_folder(tmp_path, [])
    (tmp_path / "2024-05-01-front-cam.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"for example 2024-05-01-front-cam\.png"):
        check_folder(tmp_path, [])


def test_an_earlier_call_is_replaced_at_the_end(tmp_path: Path):
    write(tmp_path, ["0000-a-cam.png", "0001-b-cam.png"])
    earlier = content(tmp_path)
    with new_content(tmp_path) as folder:
        write(folder, ["0000-a-cam.png", "0000-a-ig.png"], b"new")
        assert content(tmp_path) == earlier
    assert sorted(content(tmp_path)) == ["0000-a-cam.png", "0000-a-ig.png", PAGE]
    assert content(tmp_path)["0000-a-cam.png"] == b"new"
    check_folder(tmp_path, [])


def write_and_fail(output: Path, error: type[BaseException]) -> None:
    with new_content(output) as folder:
        write(folder, ["0000-c-cam.png"])
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_all_is_as_before(tmp_path: Path, error: type[BaseException]):
    write(tmp_path, ["0000-a-cam.png"])
    earlier = content(tmp_path)
    for output in (tmp_path, tmp_path / "new"):
        with pytest.raises(error):
            write_and_fail(output, error)
    assert content(tmp_path) == earlier
    assert not any(file.is_dir() for file in tmp_path.iterdir())


def test_nothing_outside_of_the_folder_is_removed(tmp_path: Path):
    (tmp_path / "0000-a-cam.png").write_bytes(b"mine")
    output = tmp_path / "explanations"
    output.mkdir()
    page = write_sheet("", "", [], 0, GENERATOR, ["../0000-a-cam.png", "0000-b/../../0000-a-cam.png"])
    (output / PAGE).write_text(page, encoding="utf-8")
    with new_content(output) as folder:
        write(folder, [])
    assert (tmp_path / "0000-a-cam.png").read_bytes() == b"mine"


def test_what_a_killed_call_left_is_no_obstacle(tmp_path: Path):
    (tmp_path / f".lit_cnn-{'0a' * 8}.partial").mkdir()
    check_folder(tmp_path, [])


@pytest.mark.parametrize("letter", ["a", "ж", "写", "𠮷", "\udcff"])
def test_long_names_fit_into_a_file_system(tmp_path: Path, letter: str):
    name = picture_name(3, Path(f"{letter * 240}.jpg"), "receptive_field")
    assert len(name.encode()) < 200
    assert name.startswith("0003-")
    assert name.endswith("-receptive_field.png")
    write(tmp_path, [name])
    check_folder(tmp_path, [])
