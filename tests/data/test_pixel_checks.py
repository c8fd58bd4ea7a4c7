"""What ``lit-cnn doctor`` says of pictures that lose something when they are read."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import write_photos
from PIL import Image

from lit_cnn.data import ImageFolder
from lit_cnn.data.finding import Finding
from lit_cnn.data.inspect import check_files, scan_files


def findings(folder: Path, **arguments: object) -> dict[str, Finding]:
    data = ImageFolder(str(folder), image_size=28, **arguments)
    return {found.subject: found for found in check_files(list(scan_files(data)), data.class_names, data.reading)}


def noise(*shape: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8))


def deep(top: float, seed: int = 0, dtype: type = np.uint16) -> Image.Image:
    pixels = np.random.default_rng(seed).random((40, 40))
    pixels[0, 0] = 1
    return Image.fromarray((pixels * top).astype(dtype))


def write(folder: Path, ending: str, make: Callable[[int], Image.Image]) -> None:
    """Ten files of each class, made from different seeds."""
    start = zlib.crc32(folder.name.encode())
    for index, class_name in enumerate(("a", "b")):
        (folder / class_name).mkdir(parents=True, exist_ok=True)
        for number in range(10):
            make(start + 10 * index + number).save(folder / class_name / f"{number}.{ending}")


def test_nothing_is_said_of_ordinary_photos(photos: Path):
    found = findings(photos)
    assert found.keys() == {"files", "duplicates", "lookalikes", "modes", "sizes", "proportions"}
    assert found["modes"].level == "ok"


@pytest.mark.parametrize(("training", "others", "read"), [(True, False, "grey"), (False, True, "colour")])
def test_grey_and_colour_are_read_as_the_training_images_say(tmp_path: Path, training: bool, others: bool, read: str):
    for split in ("train", "val", "test"):
        write_photos(tmp_path / split, ("a", "b"), 4, grey=training if split == "train" else others)
    found = findings(tmp_path)["modes"]
    assert found.level == "warning"
    assert f"all are read as {read}, as" in found.text
    assert ImageFolder(str(tmp_path)).channels == (1 if read == "grey" else 3)


def test_transparent_images_are_counted(tmp_path: Path):
    write(tmp_path, "png", lambda seed: noise(40, 40, 3 + seed % 2, seed=seed))
    found = findings(tmp_path)["background"]
    assert found.text.startswith("10 of 20 images have transparent pixels, which are put on white")
    assert "put on black" in findings(tmp_path, background="black")["background"].text


def test_blank_images_are_named(tmp_path: Path):
    write(tmp_path, "png", lambda seed: noise(40, 40, seed=seed))
    ink = Image.new("LA", (40, 40), (255, 0))  # white on transparent
    ink.paste((255, 255), (5, 5, 30, 9))
    ink.save(tmp_path / "a" / "ink.png")
    found = findings(tmp_path, cache_dir=None)["constant"]
    assert found.level == "warning"
    assert found.details["files"] == [str(tmp_path / "a" / "ink.png")]
    assert "constant" in findings(tmp_path, cache_dir=None, resize="pad")
    assert "constant" not in findings(tmp_path, cache_dir=None, background="black")


def test_what_the_square_cuts_off_is_measured(tmp_path: Path):
    write(tmp_path, "jpg", lambda seed: noise(40, 60, seed=seed))
    assert findings(tmp_path)["proportions"].level == "ok"  # as cameras take them
    noise(40, 200).save(tmp_path / "a" / "wide.jpg")
    found = findings(tmp_path)["proportions"]
    assert found.level == "warning"
    assert found.text.startswith("the central square cuts off 33% of the median image, 80% of the longest (5.0:1)")
    assert found.details["files"] == [str(tmp_path / "a" / "wide.jpg")]
    for resize in ("pad", "squash"):
        found = findings(tmp_path, resize=resize)["proportions"]
        assert found.text.startswith("all whole")
        assert found.details["files"] == [str(tmp_path / "a" / "wide.jpg")]
    write(tmp_path, "jpg", lambda seed: noise(40, 90, seed=seed))
    assert len(findings(tmp_path)["proportions"].details["files"]) == 21


def test_the_range_of_deep_images_is_one_for_all_and_reported(tmp_path: Path):
    for split, top in (("train", 4095), ("val", 2000), ("test", 4095)):
        write(tmp_path / split, "png", lambda seed, top=top: deep(top, seed))
    found = findings(tmp_path)["range"]
    assert (found.level, found.text) == ("ok", "60 deep images read with the range of 0 to 4095")
    assert ImageFolder(str(tmp_path)).reading.value_range == (0, 4095)
    dark, bright = tmp_path / "train" / "a" / "dark.png", tmp_path / "test" / "b" / "bright.png"
    deep(64).save(dark)
    deep(65535).save(bright)
    noise(40, 40).save(tmp_path / "train" / "a" / "ordinary.png")
    found = findings(tmp_path)["range"]
    assert found.level == "warning"
    assert found.details["files"] == [str(bright), str(dark)]
    assert ", 1 of 8 bits with 0 to 255; 1 clipped, with values outside: " in found.text
    found = findings(tmp_path, value_range=(0, 65535))["range"]
    assert bright.name not in found.text
    assert str(dark) in found.details["files"]


def test_fractions_that_are_no_numbers_are_named(tmp_path: Path):
    write(tmp_path, "tif", lambda seed: deep(1, seed, np.float32))
    pixels = np.array(deep(1, 0, np.float32))
    pixels[3, 3] = np.nan
    Image.fromarray(pixels).save(tmp_path / "a" / "odd.tif")
    found = findings(tmp_path)["range"]
    assert found.level == "warning"
    assert f"1 with NaN or infinity, read as 0: {tmp_path / 'a' / 'odd.tif'}" in found.text


def test_files_of_several_images_and_odd_metadata_are_named(tmp_path: Path):
    write(tmp_path, "gif", lambda seed: noise(40, 40, seed=seed))
    noise(40, 40).save(tmp_path / "a" / "film.gif", save_all=True, append_images=[noise(40, 40).rotate(90)])
    exif = Image.Exif()
    exif[0x010E] = "a description"
    noise(40, 40).save(tmp_path / "b" / "odd.jpg", exif=exif)
    whole = (tmp_path / "b" / "odd.jpg").read_bytes()
    start = whole.index(b"MM\0*")
    (tmp_path / "b" / "odd.jpg").write_bytes(whole[: start + 4] + b"\0\0\xff\xff" + whole[start + 8 :])
    found = findings(tmp_path)
    assert found["frames"].details["files"] == [str(tmp_path / "a" / "film.gif")]
    assert list(found["metadata"].details["files"]) == [str(tmp_path / "b" / "odd.jpg")]
    assert found["files"].level == "ok"
