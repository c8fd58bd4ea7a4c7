"""Images and archives that are broken or hostile."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lit_cnn.data import ImageFolder
from lit_cnn.data.archive import MAX_RATIO, unpack
from lit_cnn.data.opening import is_grey
from lit_cnn.data.reading import read_image

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(chunk_type: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + chunk_type + content + zlib.crc32(chunk_type + content).to_bytes(4, "big")


def bomb(side: int) -> bytes:
    """A small PNG file with the header of a large image."""
    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    rows = zlib.compress(bytes(10_000_000), 9)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


BAD: dict[str, Callable[[bytes], bytes]] = {
    "truncated.jpg": lambda whole: whole[: len(whole) // 2],
    "empty.jpg": lambda _: b"",
    "text.jpg": lambda _: b"I am not an image",
    "header.png": lambda _: PNG,
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_image_is_named(photos: Path, lit_cnn: Command, name: str):
    whole = next(photos.glob("bee/*.jpg")).read_bytes()
    (photos / "bee" / name).write_bytes(BAD[name](whole))
    data = ["--data", "ImageFolder", "--data.data_dir", photos, "--data.image_size", "28", "--data.channels", "3"]
    done = lit_cnn("fit", "--model", "LitLeNet", *data, "--trainer.max_epochs", "1")
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert str(photos / "bee" / name) in line
    assert line.endswith("; --data.on_bad_image skip leaves such files out")


def test_bad_files_can_be_left_out(photos: Path):
    for name, spoil in BAD.items():
        (photos / "bee" / name).write_bytes(spoil(next(photos.glob("bee/[0-9]*.jpg")).read_bytes()))
    data = ImageFolder(str(photos), image_size=28, on_bad_image="skip", channels=3)
    with pytest.warns(
        UserWarning, match=r"4 of 64 files cannot be decoded and are left out: bee/empty\.jpg, .* and 1 more"
    ) as said:
        data.setup("fit")
    assert len(said) == 1
    data.setup("test")
    assert sum(len(data.splits[split].labels) for split in ("train", "val", "test")) == 60


def test_a_decompression_bomb_takes_little_memory(tmp_path: Path):
    for side in (8_300, 60_000):  # 207 MB of pixels, which Pillow would decode, and 10.8 GB
        (tmp_path / f"{side}.png").write_bytes(bomb(side))
    program = """
import resource, pathlib
from lit_cnn.data.reading import read_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in ("8300.png", "60000.png"):
    try:
        read_image(pathlib.Path(name), 28, 3)
    except ValueError as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    small, large, kilobytes = done.stdout.splitlines()
    assert small == "8300.png cannot be decoded as an image (8300×8300 pixels are more than 67,108,864)"
    assert large.startswith("60000.png cannot be decoded as an image")
    assert int(kilobytes) < 50_000


# Archives


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def linked(name: str, target: str, link_type: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = link_type, target
    return info


def test_an_archive_is_a_folder(photos: Path, tmp_path: Path):
    with tarfile.open(tmp_path / "photos.tar.gz", "w:gz") as archive:
        archive.add(photos, "photos")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in photos.rglob("*.*"):
            archive.write(path, path.relative_to(photos))
    for name in ("photos.tar.gz", "photos.zip"):
        data = ImageFolder(str(tmp_path / name), image_size=28, cache_dir=str(tmp_path / "cache"))
        data.setup("fit")
        assert data.class_names == ("ant", "bee", "cat")
        assert sum(map(sum, data.counts().values())) == 60
    assert len(list((tmp_path / "cache").glob("unpacked-*"))) == 2
    again = unpack(tmp_path / "photos.zip", tmp_path / "cache")
    assert again.parent == tmp_path / "cache"
    assert len(list((tmp_path / "cache").glob("unpacked-*"))) == 2


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (tarfile.TarInfo("../outside.jpg"), "leads out of it"),
        (tarfile.TarInfo("a/../../outside.jpg"), "leads out of it"),
        (tarfile.TarInfo("/nowhere/outside.jpg"), "leads out of it"),
        (tarfile.TarInfo("..\\outside.jpg"), "leads out of it"),
        (linked("inside.jpg", "/etc/passwd"), "is a link or a device"),
        (linked("inside.jpg", "../outside", tarfile.LNKTYPE), "is a link or a device"),
        (linked("pipe", "", tarfile.FIFOTYPE), "is a link or a device"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else "",
)
def test_a_tar_that_leads_out_is_refused(tmp_path: Path, member: tarfile.TarInfo, message: str):
    target = tmp_path / "target"
    archive = tar_of(tmp_path / "a.tar.gz", (tarfile.TarInfo("good.jpg"), b"good"), (member, b""))
    with pytest.raises(ValueError, match=message):
        unpack(archive, target)
    assert list(target.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "target"]


@pytest.mark.parametrize("name", ["../outside.jpg", "/nowhere/outside.jpg", "C:/outside.jpg"])
def test_a_zip_that_leads_out_is_refused(tmp_path: Path, name: str):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"x" * 100)
    with pytest.raises(ValueError, match="leads out of it"):
        unpack(tmp_path / "a.zip", tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


@pytest.mark.parametrize(
    ("stored", "flagged", "name"),
    [
        ("Vögel/ß.jpg".encode(), False, "Vögel/ß.jpg"),  # as macOS writes it
        ("Vögel/ß.jpg".encode(), True, "Vögel/ß.jpg"),
        ("Vögel/ß.jpg".encode("cp437"), False, "Vögel/ß.jpg"),  # as Windows does
        (b"birds/1.jpg", False, "birds/1.jpg"),
    ],
)
def test_names_in_a_zip_are_read_with_and_without_the_mark_of_utf8(tmp_path: Path, stored: bytes, flagged: bool, name: str):
    placeholder = "x" * len(stored)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(placeholder, b"content")
        archive.writestr("beside.jpg", b"content")
    content = (tmp_path / "a.zip").read_bytes().replace(placeholder.encode(), stored)
    if flagged:  # in the headers of the file and of the list at the end
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            start = content.index(mark) + offset
            content = content[:start] + (0x800).to_bytes(2, "little") + content[start + 2 :]
    (tmp_path / "a.zip").write_bytes(content)
    folder = unpack(tmp_path / "a.zip", tmp_path / "target")
    assert (folder / name).read_bytes() == b"content"


def test_a_zip_with_a_link_is_refused(tmp_path: Path):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="is a link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "target")


def test_an_archive_that_grows_too_much_is_refused(tmp_path: Path):
    archive = tar_of(tmp_path / "a.tar.gz", (tarfile.TarInfo("zeros"), bytes(20_000_000)))
    assert archive.stat().st_size * MAX_RATIO < 20_000_000
    with pytest.raises(ValueError, match="is refused: it unpacks to more than"):
        unpack(archive, tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


def test_an_archive_whose_headers_grow_too_much_is_refused(tmp_path: Path):
    header = tarfile.TarInfo("header")
    header.type, header.size = tarfile.XHDTYPE, 50_000_000
    with gzip.open(tmp_path / "a.tar.gz", "wb") as archive:
        archive.write(header.tobuf() + bytes(header.size))
    with pytest.raises(ValueError, match="is refused: a header in it takes more than 1,048,576 bytes"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_archives_of_every_format(tmp_path: Path, suffix: str):
    mode = {"tar": "w", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}.get(suffix, "w:gz")
    content = os.urandom(3_000_000)
    with tarfile.open(tmp_path / f"a.{suffix}", mode) as archive:
        info = tarfile.TarInfo(f"photos/{'long' * 60}.jpg")  # a name that needs a header of its own
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    folder = unpack(tmp_path / f"a.{suffix}", tmp_path / "target")
    assert [path.read_bytes() for path in folder.iterdir()] == [content]
    misnamed = tmp_path / "misnamed.tar.gz"  # some browsers decompress what they download
    misnamed.write_bytes((tmp_path / f"a.{suffix}").read_bytes())
    assert len(list(unpack(misnamed, tmp_path / "again").iterdir())) == 1
    broken = tmp_path / f"broken.{suffix}"
    broken.write_bytes(b"x" * 5000)
    with pytest.raises(ValueError, match=r"broken\.t"):
        unpack(broken, tmp_path / "target")


def test_an_unpacked_archive_that_lost_a_file_is_unpacked_again(tmp_path: Path):
    archive = tar_of(tmp_path / "a.tar.gz", *((tarfile.TarInfo(f"bee/{n}.jpg"), b"image") for n in range(3)))
    folder = unpack(archive, tmp_path / "cache")
    made = (folder / "1.jpg").stat().st_mtime_ns
    assert (unpack(archive, tmp_path / "cache") / "1.jpg").stat().st_mtime_ns == made
    (folder / "0.jpg").unlink()
    assert sorted(path.name for path in unpack(archive, tmp_path / "cache").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]
    (folder / "1.jpg").write_bytes(b"im")
    assert (unpack(archive, tmp_path / "cache") / "1.jpg").read_bytes() == b"image"
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_what_a_killed_unpacking_left_is_removed_after_a_day(tmp_path: Path):
    archive = tar_of(tmp_path / "a.tar.gz", (tarfile.TarInfo("bee/0.jpg"), b"image"))
    running, killed = (tmp_path / "cache" / f".unpacking-{name}" for name in ("running", "killed"))
    for folder in (running, killed):
        folder.mkdir(parents=True)
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(killed, (two_days_ago, two_days_ago))
    unpack(archive, tmp_path / "cache")
    assert running.is_dir()
    assert not killed.exists()


def test_a_broken_archive_is_named(tmp_path: Path):
    whole = tar_of(tmp_path / "a.tar.gz", (tarfile.TarInfo("noise"), os.urandom(100_000)))
    whole.write_bytes(whole.read_bytes()[:50_000])
    with pytest.raises(ValueError, match=r"a\.tar\.gz"):
        unpack(whole, tmp_path / "target")


def three_files() -> bytes:
    """A plain tar of three files of 500 bytes. Each takes two blocks of 512 bytes: a header, and the content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in "abc":
            info = tarfile.TarInfo(f"photos/{name}.jpg")
            info.size = 500
            archive.addfile(info, io.BytesIO(os.urandom(500)))
    return stream.getvalue()


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: 4 * 512],
        lambda whole: whole[: 4 * 512 + 100],
        lambda whole: whole[: 6 * 512],
        lambda whole: whole[: 2 * 512] + b"?" + whole[2 * 512 + 1 :],
    ],
    ids=["cut before a header", "cut in a header", "cut before the end", "damaged header"],
)
def test_a_tar_with_a_missing_or_damaged_header_is_refused(tmp_path: Path, suffix: str, damage: Callable[[bytes], bytes]):
    content = damage(three_files())
    archive = tmp_path / f"a.{suffix}"
    archive.write_bytes(gzip.compress(content) if suffix == "tar.gz" else content)
    with pytest.raises(ValueError, match=r"a\.tar.*damaged or was not copied to its end"):
        unpack(archive, tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


def test_a_checksum_at_the_end_of_a_compressed_tar_is_compared(tmp_path: Path):
    whole = gzip.compress(three_files())
    (tmp_path / "a.tar.gz").write_bytes(whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:])
    with pytest.raises(ValueError, match=r"a\.tar\.gz cannot be unpacked \(CRC check failed"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


# Fuzzing


def encoded(image_format: str) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).convert("RGB").save(file, image_format)
    return file.getvalue()


SEEDS = [encoded(image_format) for image_format in ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")]


@settings(max_examples=300, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_file_holds_it_is_read_or_named(tmp_path: Path, data: st.DataObject):
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for position, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=20)
    ):
        content[position] = value
    cut = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    path = tmp_path / "mutated.jpg"
    path.write_bytes(content[:cut])
    channels = data.draw(st.sampled_from([1, 3]))
    checks = (lambda: isinstance(is_grey(path), bool), lambda: read_image(path, 16, channels).shape == (channels, 16, 16))
    for check in checks:
        try:
            assert check()
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 - both outcomes are good
