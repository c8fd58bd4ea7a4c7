"""Whatever a picture is like, it is read as a picture, or its file is named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lit_cnn.data.formats import ENDINGS, FORMATS
from lit_cnn.data.opening import is_grey
from lit_cnn.data.reading import Reading

SIZE = 24
# Grey values of the square that is to be found, and of what surrounds it.
DARK, BRIGHT = 20, 235
MODES = ("1", "L", "LA", "P", "P transparent", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F", "F 1")
# Pillow saves deep images in other formats too, but clips them.
DEEP_FORMATS = {"I": {"TIFF"}, "I;16": {"PNG", "TIFF", "PPM", "JPEG2000"}, "F": {"TIFF", "PPM"}, "F 1": {"TIFF", "PPM"}}
EXIF = (b"", b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0")
ORIENTATIONS = st.integers(0, 9)


def picture(mode: str, width: int, height: int, corner: tuple[int, int]) -> Image.Image:
    """A bright square, a third of the shorter side, on dark ground; transparent pixels would be bright if they were seen."""
    side = max(1, min(width, height) // 3)
    grey = np.full((height, width), DARK, np.uint8)
    left, top = ((extent - side) * place // 2 for extent, place in zip((width, height), corner, strict=True))
    grey[top : top + side, left : left + side] = BRIGHT
    image = Image.fromarray(grey)
    if mode == "I":
        return Image.fromarray(grey.astype(np.int32) * 257)
    if mode == "I;16":
        return Image.fromarray(grey.astype(np.uint16) * 16)
    if mode.startswith("F"):
        return Image.fromarray(grey.astype(np.float32) / (255 if mode == "F 1" else 1))
    if mode == "1":
        return image.point(lambda value: 255 * (value > 128), "1")
    if mode in ("LA", "RGBA", "P transparent"):
        image = image.convert("RGBA")
        image.putalpha(Image.fromarray(np.where(grey == BRIGHT, 0, 255).astype(np.uint8)))  # white shows through
        return image.quantize(4) if mode.startswith("P") else image.convert(mode)
    return image.convert("RGB").quantize(8) if mode == "P" else image.convert("RGB").convert(mode)


def saved(image: Image.Image, image_format: str, exif: bytes, orientation: int) -> bytes | None:
    """The file; None if the format cannot hold such an image."""
    file = io.BytesIO()
    arguments: dict[str, Any] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(image_format, {})
    if image_format in ("JPEG", "PNG", "WEBP", "TIFF"):
        tags = Image.Exif()
        tags[0x0112] = orientation
        arguments["exif"] = tags if not exif or image_format == "TIFF" else exif
    try:
        image.save(file, image_format, **arguments)
    except (OSError, ValueError):
        return None
    return file.getvalue()


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes, int]:
    """A format, a file with a bright square, and how many times its longer side is as long as the shorter one."""
    mode, image_format = draw(st.sampled_from(MODES)), draw(st.sampled_from(FORMATS))
    proportion = draw(st.sampled_from([1, 1, 2, 5]))
    shorter = draw(st.sampled_from([30, 64, 131]))
    width, height = draw(st.permutations([shorter, shorter * proportion]))
    corner = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    content = None
    if image_format in DEEP_FORMATS.get(mode, FORMATS):
        image = picture(mode, width, height, corner)
        content = saved(image, image_format, draw(st.sampled_from(EXIF)), draw(ORIENTATIONS))
    if content is None:
        content = saved(picture("RGB", width, height, corner), image_format, b"", 1)
    assert content is not None
    return image_format, content, proportion


READINGS = st.builds(
    Reading,
    st.just(SIZE),
    st.sampled_from([1, 3]),
    st.sampled_from(["squash", "pad", "crop"]),
    st.just("white"),
)


def check_that_the_square_is_there(folder: Path, file: tuple[str, bytes, int], reading: Reading) -> None:
    image_format, content, proportion = file
    path = folder / f"a{ENDINGS[image_format][0]}"
    path.write_bytes(content)
    pixels, facts = reading.examine(path)
    assert pixels.shape == (reading.channels, SIZE, SIZE)
    assert isinstance(is_grey(path), bool)
    if reading.resize == "crop" and proportion > 1:
        return  # it may be outside
    if reading.resize == "pad":  # without the bars
        extent = max(1, round(SIZE / proportion))
        inner = slice((SIZE - extent) // 2, (SIZE - extent) // 2 + extent)
        is_wide = proportion == 1 or bool((pixels[:, 0] > 200).all())
        pixels = pixels[:, inner] if is_wide else pixels[:, :, inner]
    assert pixels.max() > 128, (facts, reading)
    assert (pixels < 64).float().mean() > 0.5, (facts, reading)


def fuzzed(max_examples: int) -> settings:
    return settings(
        max_examples=max_examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        derandomize=True,
        database=None,
    )


@fuzzed(150)
@given(files(), READINGS)
def test_a_bright_square_is_bright_in_whatever_file(tmp_path: Path, file: tuple[str, bytes, int], reading: Reading):
    check_that_the_square_is_there(tmp_path, file, reading)


@pytest.mark.slow
@fuzzed(1500)
@given(files(), READINGS)
def test_a_bright_square_is_bright_in_very_many_files(tmp_path: Path, file: tuple[str, bytes, int], reading: Reading):
    check_that_the_square_is_there(tmp_path, file, reading)


def check_that_damage_is_named(folder: Path, file: tuple[str, bytes, int], reading: Reading, data: st.DataObject) -> None:
    image_format, content, _ = file
    damaged = bytearray(content)
    places = st.tuples(st.integers(0, min(len(content), 300) - 1), st.integers(0, 255))
    for position, value in data.draw(st.lists(places, max_size=4)):
        damaged[position] = value
    path = folder / f"b{ENDINGS[image_format][0]}"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    for check in (
        lambda: reading.read(path).shape == (reading.channels, SIZE, SIZE),
        lambda: is_grey(path) in (True, False),
    ):
        try:
            assert check()
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 - both outcomes are good


@fuzzed(100)
@given(files(), READINGS, st.data())
def test_a_damaged_file_is_read_or_named(
    tmp_path: Path, file: tuple[str, bytes, int], reading: Reading, data: st.DataObject
):
    check_that_damage_is_named(tmp_path, file, reading, data)


@pytest.mark.slow
@fuzzed(1500)
@given(files(), READINGS, st.data())
def test_very_many_damaged_files_are_read_or_named(
    tmp_path: Path, file: tuple[str, bytes, int], reading: Reading, data: st.DataObject
):
    check_that_damage_is_named(tmp_path, file, reading, data)
