"""Images decoded once into a file, and again when they change."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from conftest import Command, run_process
from PIL import Image

from lit_cnn.data import ImageFolder
from lit_cnn.data.loader import Batch


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def folder_of(photos: Path, cache: Path | None, **arguments: object) -> ImageFolder:
    defaults = {"image_size": 16, "seed": 0, "memory_gb": 0.0, "cache_dir": str(cache) if cache else None}
    return ImageFolder(str(photos), **defaults | arguments)


def decoded_in(cache: Path) -> list[Path]:
    return [path for path in cache.glob("*") if path.is_file()]


def epoch_of(data: ImageFolder) -> list[Batch]:
    data.setup("fit")
    return list(data.train_dataloader())


def test_an_epoch_from_the_file_equals_one_that_is_decoded_bit_for_bit(photos: Path, cache: Path):
    decoded = epoch_of(folder_of(photos, None))
    for _ in range(2):  # when the file is made, and when it is read again
        torch.testing.assert_close(epoch_of(folder_of(photos, cache)), decoded, rtol=0, atol=0)
    (file,) = decoded_in(cache)
    num_images = sum(map(sum, (folder_of(photos, None).counts()[split] for split in ("train", "val"))))
    assert file.stat().st_size == num_images * 3 * 16 * 16  # without the test images


def test_cached_images_are_not_decoded_again(photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    epoch_of(folder_of(photos, cache))

    def fail(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("lit_cnn.data.reading.Reading.read", fail)
    assert len(epoch_of(folder_of(photos, cache))) == 1


def paint_it_black(file: Path) -> None:
    with Image.open(file) as image:
        black = Image.new("RGB", image.size)
    black.save(file)


@pytest.mark.parametrize(
    "change",
    [paint_it_black, Path.unlink, lambda file: shutil.copy(file, file.with_stem("another"))],
    ids=["contents", "one less", "one more"],
)
def test_a_changed_folder_is_noticed_and_the_old_file_removed(photos: Path, cache: Path, change):
    epoch_of(folder_of(photos, cache))
    (before,) = decoded_in(cache)
    data = folder_of(photos, cache)
    data.setup("fit")
    change(Path(data.splits["train"].name(0)))
    torch.testing.assert_close(epoch_of(folder_of(photos, cache)), epoch_of(folder_of(photos, None)), rtol=0, atol=0)
    (after,) = decoded_in(cache)
    assert after.name != before.name


def test_a_date_alone_is_no_change(photos: Path, cache: Path):
    epoch_of(folder_of(photos, cache))
    for file in photos.rglob("*.*"):
        file.touch()
    (before,) = decoded_in(cache)
    written = before.stat().st_mtime_ns
    epoch_of(folder_of(photos, cache))
    (after,) = decoded_in(cache)
    assert (after, after.stat().st_mtime_ns) == (before, written)


def test_another_size_and_grey_have_files_of_their_own(photos: Path, cache: Path):
    for arguments in ({}, {"channels": 1}, {"image_size": 20}, {"test_fraction": 0.2}):
        epoch_of(folder_of(photos, cache, **arguments))
    assert len(decoded_in(cache)) == 4


def test_a_truncated_file_is_made_again(photos: Path, cache: Path):
    decoded = epoch_of(folder_of(photos, cache))
    (file,) = decoded_in(cache)
    file.write_bytes(file.read_bytes()[:100])
    torch.testing.assert_close(epoch_of(folder_of(photos, cache)), decoded, rtol=0, atol=0)


def test_a_broken_image_leaves_no_partial_file(photos: Path, cache: Path):
    data = folder_of(photos, cache, channels=3)
    for file in photos.glob("bee/*"):
        file.write_bytes(b"no image " + file.name.encode())
    with pytest.raises(ValueError, match=r"bee/\d+\.png cannot be decoded"):
        data.read("train")
    assert decoded_in(cache) == []


def test_a_full_disk_is_reported_and_the_images_are_decoded_in_each_epoch(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    usage = namedtuple("usage", "total used free")(100, 90, 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    torch.testing.assert_close(epoch_of(folder_of(photos, cache)), epoch_of(folder_of(photos, None)), rtol=0, atol=0)
    said = capsys.readouterr().err
    assert f"cannot be saved in {cache} (0.0 MB are needed, 0.0 MB are free): they are decoded again in each epoch" in said
    assert decoded_in(cache) == []


def test_a_folder_that_cannot_be_made_stops_nothing(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("in the way")
    cached = epoch_of(folder_of(photos, tmp_path / "file" / "cache"))
    torch.testing.assert_close(cached, epoch_of(folder_of(photos, None)), rtol=0, atol=0)
    assert "cannot be saved in" in capsys.readouterr().err


def test_partial_files_of_killed_processes_are_removed_after_a_day(photos: Path, cache: Path):
    epoch_of(folder_of(photos, cache))
    (file,) = decoded_in(cache)
    old, recent = (file.with_name(f"{file.name}.{name}") for name in ("old", "recent"))
    for leftover in (old, recent):
        shutil.copy(file, leftover)
    os.utime(old, (0, 0))
    file.unlink()
    epoch_of(folder_of(photos, cache))
    assert {path.name for path in decoded_in(cache)} == {file.name, recent.name}


@pytest.mark.slow
def test_two_processes_decode_once(tmp_path: Path, photos: Path, cache: Path):
    data = ["--data", "ImageFolder", "--data.data_dir", photos, "--data.image_size", "28", "--data.memory_gb", "0"]
    two = ["--trainer.devices", "2", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--test_after_fit"]
    done = run_process(tmp_path, "fit", "--model", "LitLeNet", *data, "--data.cache_dir", cache, *two)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("decoding once into") == 2  # training images, test images
    assert len(decoded_in(cache)) == 2


def test_the_command_announces_the_file_and_its_size(lit_cnn: Command, photos: Path, cache: Path):
    data = ["--data", "ImageFolder", "--data.data_dir", photos, "--data.image_size", "28", "--data.memory_gb", "0"]
    train = ["fit", "--model", "LitLeNet", *data, "--data.cache_dir", cache, "--trainer.max_epochs", "1"]
    first, second = lit_cnn(*train), lit_cnn(*train)
    assert first.returncode == second.returncode == 0, first.stderr
    assert f"decoding once into {cache}/photos-" in first.stderr
    assert ", 0.1 MB" in first.stderr
    assert "decoding" not in second.stderr
