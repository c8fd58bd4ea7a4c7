"""What is left of a picture when its file is read: opacity, depth, proportions, metadata."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features
from test_bad_files import PNG, bomb, chunk

from lit_cnn.data.depth import Values, full_scale
from lit_cnn.data.library_warnings import recorded_warnings
from lit_cnn.data.opening import header_of, is_grey
from lit_cnn.data.reading import MAX_PIXELS, Reading, read_image

AVIF = pytest.param("avif", marks=pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF"))
COLOURS = Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 60, 3)).astype(np.uint8))


def png_of(array: np.ndarray, colour_type: int, *chunks: bytes) -> bytes:
    """A PNG of 16 bits a value."""
    height, width = array.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return PNG + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff_of(array: np.ndarray, order: str, compression: int) -> bytes:
    """A TIFF of three channels of 16 bits."""
    sign = "<" if order == "II" else ">"
    pixels = array.astype(f"{sign}u2").tobytes()
    pixels = zlib.compress(pixels) if compression == 8 else pixels
    height, width = array.shape[:2]
    sizes = (256, width), (257, height)
    tags = (*sizes, (258, 122), (259, compression), (262, 2), (273, 128), (277, 3), (278, height), (279, len(pixels)))
    file = order.encode() + struct.pack(f"{sign}HIH", 42, 8, len(tags))
    for tag, value in tags:  # all as one number of 32 bits, but for the three numbers of bits, which follow
        file += struct.pack(f"{sign}HHII", tag, 3 if tag == 258 else 4, 3 if tag == 258 else 1, value)
    return file + struct.pack(f"{sign}I3H", 0, 16, 16, 16) + pixels


# Opacity


def cross(mode: str) -> tuple[Image.Image, dict[str, object]]:
    """A black cross on transparent ground whose hidden colour is black too, and the arguments that save it."""
    opacity = np.zeros((48, 48), np.uint8)
    opacity[20:28], opacity[:, 20:28] = 255, 255
    image = Image.new("RGBA", (48, 48))
    image.putalpha(Image.fromarray(opacity))
    if mode == "P":  # with one transparent entry of the palette; below, an opacity for each
        image = Image.fromarray((opacity > 0).astype(np.uint8)).convert("P")
        image.putpalette([0] * 6)
        return image, {"transparency": 0}
    if mode == "P bytes":
        return image.quantize(8), {}
    if mode in ("L", "RGB", "I;16"):  # a colour that stands for transparent pixels
        grey = Image.fromarray(np.where(opacity > 0, 0, 9).astype(np.uint16 if mode == "I;16" else np.uint8))
        return grey if mode == "I;16" else grey.convert(mode), {"transparency": (9, 9, 9) if mode == "RGB" else 9}
    return image.convert(mode), {}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "P bytes", "L", "RGB", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_pixels_are_put_on_the_background(tmp_path: Path, mode: str, channels: int):
    image, arguments = cross(mode)
    image.save(tmp_path / "cross.png", **arguments)
    on_white = read_image(tmp_path / "cross.png", 48, channels)
    assert on_white[:, 22:26].eq(0).all()
    assert on_white[:, :19, :19].eq(255).all()
    # Dark ink on black is lost, as the user asked for.
    assert read_image(tmp_path / "cross.png", 48, channels, background="black").eq(0).all()


@pytest.mark.parametrize("ending", ["webp", "gif", "tif", "tga", "jp2", AVIF])
def test_other_formats_with_opacity(tmp_path: Path, ending: str):
    cross("RGBA")[0].save(tmp_path / f"cross.{ending}")
    pixels, facts = Reading(24, 3).examine(tmp_path / f"cross.{ending}")
    assert facts.is_transparent
    assert pixels[:, 11:13].max() < 30
    assert pixels[:, :8, :8].min() > 240


def test_hidden_colours_do_not_shine_through_at_edges(tmp_path: Path):
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))  # hidden red
    image.paste((255, 255, 255, 255), (16, 16, 48, 48))
    image.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 20, 3).eq(255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB", "L", "P"])
@pytest.mark.parametrize("channels", [1, 3])
def test_opaque_images_are_only_converted(tmp_path: Path, mode: str, channels: int):
    image = COLOURS.crop((0, 0, 40, 40)).convert(mode)
    image.save(tmp_path / "a.png")
    expected = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(40, 40, channels)
    assert np.array_equal(read_image(tmp_path / "a.png", 40, channels).permute(1, 2, 0), expected)


# Depth


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("ending", ["png", "tif", "big.tif", "pgm"])
def test_deep_images_keep_their_levels(tmp_path: Path, bits: int, ending: str):
    values = np.linspace(0, 2**bits - 1, 40 * 40).astype(np.uint16).reshape(40, 40)
    path = tmp_path / f"a.{ending}"
    if ending == "big.tif":
        Image.frombytes("I;16B", (40, 40), values.astype(">u2").tobytes()).save(path)
    else:
        Image.fromarray(values).save(path)
    expected = torch.from_numpy(np.rint(values / (2**bits - 1) * 255))[None]
    assert (read_image(path, 40, 1) - expected).abs().max() <= 1


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (0, 65535), (-1, 1), (273, 310), (0, 1e-4), (-5e9, 5e9)])
def test_fractions_keep_their_levels(tmp_path: Path, low: float, high: float):
    values = np.linspace(low, high, 40 * 40, dtype=np.float32).reshape(40, 40)
    Image.fromarray(values).save(tmp_path / "a.tif")
    expected = torch.linspace(0, 255, 40 * 40).view(1, 40, 40)
    assert (read_image(tmp_path / "a.tif", 40, 1) - expected).abs().max() <= 1


def test_signed_values_of_32_bits(tmp_path: Path):
    values = np.linspace(-(2**31), 2**31 - 1, 40 * 40).astype(np.int32).reshape(40, 40)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert (read_image(tmp_path / "a.tif", 40, 1) - torch.linspace(0, 255, 1600).view(1, 40, 40)).abs().max() <= 1


def test_colours_of_16_bits_keep_their_levels(tmp_path: Path):
    values = np.random.default_rng(0).integers(0, 4096, (40, 40, 3)).astype(np.uint16)
    values[0, 0], values[0, 1] = (0, 4095, 4095), (5, 4094, 3)
    expected = torch.from_numpy(np.rint(values / 4095 * 255)).permute(2, 0, 1)
    (tmp_path / "a.png").write_bytes(png_of(values, 2))
    pixels, facts = Reading(40, 3).examine(tmp_path / "a.png")
    assert (pixels - expected).abs().max() <= 1
    assert facts.values == Values(0, 4095, True)
    assert not facts.is_transparent
    opacity = np.full((40, 40, 1), 65535, np.uint16)
    opacity[:9] = 0
    (tmp_path / "b.png").write_bytes(png_of(np.concatenate([values, opacity], axis=2), 6))
    pixels = read_image(tmp_path / "b.png", 40, 3)
    assert pixels[:, :9].eq(255).all()
    assert (pixels[:, 9:] - expected[:, 9:]).abs().max() <= 1
    (tmp_path / "c.png").write_bytes(png_of(values, 2, chunk(b"tRNS", struct.pack(">3H", 5, 4094, 3))))
    pixels, facts = Reading(40, 3).examine(tmp_path / "c.png")
    assert facts.is_transparent
    assert pixels[:, 0, 1].eq(255).all()


def test_grey_of_16_bits_with_opacity_keeps_its_levels(tmp_path: Path):
    values = np.linspace(0, 4095, 40 * 40).astype(np.uint16).reshape(40, 40)
    opacity = np.full((40, 40), 65535, np.uint16)
    opacity[:9] = 0
    (tmp_path / "a.png").write_bytes(png_of(np.stack([values, opacity], axis=2), 4))
    pixels, facts = Reading(40, 1).examine(tmp_path / "a.png")
    assert facts.values == Values(0, 4095, True)
    assert pixels[:, :9].eq(255).all()
    assert (pixels[0, 9:] - torch.from_numpy(np.rint(values[9:] / 4095 * 255))).abs().max() <= 1


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("compression", [1, 8])
def test_colours_of_16_bits_in_a_tiff(tmp_path: Path, order: str, compression: int):
    values = np.random.default_rng(0).integers(0, 4096, (30, 30, 3)).astype(np.uint16)
    values[0, 0] = (0, 4095, 4095)
    (tmp_path / "a.tif").write_bytes(tiff_of(values, order, compression))
    expected = torch.from_numpy(np.rint(values / 4095 * 255)).permute(2, 0, 1)
    assert (read_image(tmp_path / "a.tif", 30, 3) - expected).abs().max() <= 1


def test_colours_of_16_bits_in_a_ppm(tmp_path: Path):
    values = np.random.default_rng(0).integers(0, 4096, (30, 20, 3)).astype(np.uint16)
    values[0, 0] = (0, 4095, 4095)
    (tmp_path / "a.ppm").write_bytes(b"P6 20 30 65535\n" + values.astype(">u2").tobytes())
    pixels, facts = Reading(30, 3, "squash").examine(tmp_path / "a.ppm")
    assert facts.values == Values(0, 4095, True)
    (tmp_path / "b.png").write_bytes(png_of(values, 2))
    assert torch.equal(pixels, Reading(30, 3, "squash").read(tmp_path / "b.png"))
    assert header_of(tmp_path / "a.ppm").is_deep


def test_what_is_no_number_is_the_low_end(tmp_path: Path):
    values = np.full((9, 9), 0.5, np.float32)
    values[0], values[1], values[2], values[3] = np.nan, np.inf, -np.inf, 1
    Image.fromarray(values).save(tmp_path / "a.tif")
    pixels, facts = Reading(9, 1).examine(tmp_path / "a.tif")
    assert pixels[0, :5, 0].tolist() == [0, 0, 0, 255, 128]
    assert facts.values == Values(0.5, 1, False, is_finite=False)
    Image.fromarray(np.full((9, 9), np.nan, np.float32)).save(tmp_path / "none.tif")
    assert read_image(tmp_path / "none.tif", 9, 1).eq(0).all()


def test_a_given_range_clips(tmp_path: Path):
    Image.fromarray(np.array([[100, 200], [300, 1000]], np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 2, 1, value_range=(200, 400)).flatten().tolist() == [0, 0, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([Values(0, 200, True), Values(3, 700, True)], (0, 1023)),
        ([Values(0, 200, True), Values(0, 0.5, False)], (0, 255)),
        ([Values(0, 1, False)], (0, 1)),
        ([Values(1000, 1100, True)], (1000, 1100)),
        ([Values(0, 70_000, True)], (0, 70_000)),
        ([Values(7, 7, True)], (0, 255)),
        ([Values(-3, -3, False)], (-3, -2)),
        ([], None),
    ],
)
def test_the_full_scale_is_the_smallest_that_holds_all_values(values: list[Values], expected: tuple[float, float] | None):
    assert full_scale(values) == expected


# Proportions


@pytest.mark.parametrize("size", [(400, 20), (20, 400)])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_whole_images_can_be_kept(tmp_path: Path, size: tuple[int, int], ending: str):
    image = Image.new("RGB", size, (0, 0, 0))
    image.paste((255, 0, 0), (0, 0, min(size[0], 60), min(size[1], 60)))  # red at one end
    image.save(tmp_path / f"a.{ending}", quality=95)
    is_wide = size[0] > size[1]
    cropped, squashed, padded = (
        read_image(tmp_path / f"a.{ending}", 40, 3, resize=resize).float() for resize in ("crop", "squash", "pad")
    )
    if not is_wide:
        cropped, squashed, padded = (pixels.transpose(1, 2) for pixels in (cropped, squashed, padded))
    assert cropped[0].max() < 20
    assert squashed[0, :, :5].min() > 200
    assert squashed[0, :, 8:].max() < 60
    assert padded[0, 19:21, :5].min() > 200
    assert padded[1, 19:21, :5].max() < 60
    assert padded[:, :18].min() == padded[:, 22:].min() == 255  # bars


def test_large_jpegs_keep_detail_in_every_mode(tmp_path: Path):
    stripes = np.tile(np.repeat(np.array([0, 255], np.uint8), 32), (256, 64))  # 64 periods of 64 pixels
    Image.fromarray(stripes).save(tmp_path / "a.jpg", quality=95)
    assert stripes.shape == (256, 4096)
    for resize, row in (("squash", 100), ("pad", 128)):
        line = read_image(tmp_path / "a.jpg", 256, 1, resize=resize)[0, row].float()
        assert line.std() > 90, resize  # four pixels a period
    assert read_image(tmp_path / "a.jpg", 256, 1)[0, 100].float().std() > 110


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)])
@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_the_thinnest_images(tmp_path: Path, size: tuple[int, int], resize: str):
    Image.new("RGB", size, (9, 9, 9)).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png", 8, 3, resize=resize)
    assert pixels.shape == (3, 8, 8)
    assert pixels.eq(9).any()


# Metadata


LARGE = zlib.compress(bytes(5_000_000))
ODD_CHUNKS = {
    "large text": chunk(b"zTXt", b"Comment\0\0" + LARGE),
    "large international text": chunk(b"iTXt", b"Comment\0\1\0\0\0" + LARGE),
    "many texts": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(900_000))) * 80,
    "large profile": chunk(b"iCCP", b"icc\0\0" + LARGE),
    "broken profile": chunk(b"iCCP", b"icc\0\0broken"),
    "wrong checksum": chunk(b"tEXt", b"Comment\0text")[:-4] + b"0000",
    "wrong checksum of EXIF": chunk(b"eXIf", b"MM\0*")[:-4] + b"0000",
    "nonsense as EXIF": chunk(b"eXIf", b"nonsense"),
    "nonsense as EXIF in a text": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n    20\nzz")),
    "short resolution": chunk(b"pHYs", b"\0"),
    "animation without frames": chunk(b"acTL", b"\0"),
}


@pytest.mark.parametrize("name", ODD_CHUNKS)
@pytest.mark.parametrize("is_last", [False, True])
def test_metadata_of_a_png_never_refuse_its_pixels(tmp_path: Path, name: str, is_last: bool):
    COLOURS.save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    expected = read_image(tmp_path / "a.png", 20, 3)
    place = len(whole) - 12 if is_last else len(PNG) + 25  # before the end, or after the header
    (tmp_path / "b.png").write_bytes(whole[:place] + ODD_CHUNKS[name] + whole[place:])
    assert torch.equal(read_image(tmp_path / "b.png", 20, 3), expected)
    assert not is_grey(tmp_path / "b.png")


@pytest.mark.parametrize("segment", [b"\xff\xe0\0\x06JFIF", b"\xff\xee\0\x07Adobe", b"\xff\xe0\0\x02"])
def test_short_segments_of_a_jpeg_never_refuse_its_pixels(tmp_path: Path, segment: bytes):
    COLOURS.save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    length = int.from_bytes(whole[4:6], "big") + 2  # of the JFIF segment
    (tmp_path / "b.jpg").write_bytes(whole[:2] + segment + whole[2 + length :])
    assert torch.equal(read_image(tmp_path / "b.jpg", 20, 3), read_image(tmp_path / "a.jpg", 20, 3))
    assert not is_grey(tmp_path / "b.jpg")


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", AVIF])
def test_broken_exif_never_refuses_pixels(tmp_path: Path, ending: str):
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a description", 1
    COLOURS.save(tmp_path / f"a.{ending}", exif=exif)
    whole = (tmp_path / f"a.{ending}").read_bytes()
    expected = read_image(tmp_path / f"a.{ending}", 20, 3)
    start = whole.index(b"MM\0*")
    for where, what in (
        (0, b"none"),
        (4, b"\xff\xff\xff\xff"),
        (8, b"\xff\xff"),
        (10, b"\xff\xff\xff\xff"),
        (14, b"\xff" * 8),
    ):
        broken = whole[: start + where] + what + whole[start + where + len(what) :]
        (tmp_path / f"b.{ending}").write_bytes(broken)
        assert torch.equal(read_image(tmp_path / f"b.{ending}", 20, 3), expected), where


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_in_every_format(tmp_path: Path, ending: str, orientation: int):
    quarters = Image.fromarray(np.kron([[250, 150], [60, 0]], np.ones((32, 48))).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    quarters.save(tmp_path / f"a.{ending}", exif=exif)
    seen = read_image(tmp_path / f"a.{ending}", 64, 1, resize="squash")[0, 16::32, 16::32].int()
    turned = {
        1: [[250, 150], [60, 0]],
        2: [[150, 250], [0, 60]],
        3: [[0, 60], [150, 250]],
        4: [[60, 0], [250, 150]],
        5: [[250, 60], [150, 0]],
        6: [[60, 250], [0, 150]],
        7: [[0, 150], [60, 250]],
        8: [[150, 0], [250, 60]],
    }
    assert (seen - torch.tensor(turned[orientation])).abs().max() < 6


@pytest.mark.parametrize("orientation", [0, 9, 99, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path: Path, orientation: int):
    exif = Image.Exif()
    COLOURS.save(tmp_path / "a.jpg", exif=exif)
    exif[0x0112] = orientation
    COLOURS.save(tmp_path / "b.jpg", exif=exif)
    assert torch.equal(read_image(tmp_path / "a.jpg", 20, 3), read_image(tmp_path / "b.jpg", 20, 3))


def test_only_the_own_limit_of_size_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.new("L", (800, 640), 128).save(tmp_path / "a.jpg")
    Image.new("L", (800, 640), 128).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow warns beyond it, and refuses twice as much
    monkeypatch.setattr("lit_cnn.data.reading.MAX_PIXELS", 100_000)
    assert read_image(tmp_path / "a.jpg", 20, 3).float().mean() == pytest.approx(128, abs=2)  # scaled by its decoder
    with pytest.raises(ValueError, match=r"a\.png cannot .*800×640 pixels are more than 100,000"):
        read_image(tmp_path / "a.png", 20, 3)
    (tmp_path / "bomb.png").write_bytes(bomb(30_000))
    with pytest.raises(ValueError, match=r"30000×30000 pixels"):
        read_image(tmp_path / "bomb.png", 20, 3)
    assert MAX_PIXELS < 10**8


def test_a_truncated_file_with_odd_metadata_is_refused(tmp_path: Path):
    COLOURS.save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    start = len(PNG) + 25
    (tmp_path / "b.png").write_bytes(whole[:start] + ODD_CHUNKS["large text"] + whole[start : len(whole) // 2])
    with pytest.raises(ValueError, match=r"b\.png cannot be decoded"):
        read_image(tmp_path / "b.png", 20, 3)


# Several images in a file


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
def test_the_first_of_several_images_is_read(tmp_path: Path, ending: str):
    frames = [Image.new("RGB", (20, 20), (level, level, level)) for level in (200, 100, 0)]
    arguments = {"lossless": True} if ending == "webp" else {}
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:], **arguments)
    pixels, facts = Reading(20, 3).examine(tmp_path / f"a.{ending}")
    assert facts.num_frames == 3
    assert (pixels.float() - 200).abs().max() <= 2


# Warnings of libraries


def test_warnings_are_those_of_the_thread_that_decodes():
    def decode(number: int) -> list[str]:
        with recorded_warnings() as recorded:
            for _ in range(50):
                warnings.warn(f"of {number}", stacklevel=1)
            return recorded

    with ThreadPoolExecutor(4) as workers:
        results = list(workers.map(decode, range(20)))
    with pytest.warns(UserWarning, match="outside"):
        warnings.warn("outside", stacklevel=1)
    assert results == [[f"of {number}"] * 50 for number in range(20)]


def test_an_image_is_read_without_warnings_and_they_are_noted(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010E] = "a description"
    buffer = io.BytesIO()
    COLOURS.save(buffer, "JPEG", exif=exif)
    whole = buffer.getvalue()
    start = whole.index(b"MM\0*")
    (tmp_path / "a.jpg").write_bytes(whole[: start + 4] + b"\0\0\xff\xff" + whole[start + 8 :])
    _, facts = Reading(20, 3).examine(tmp_path / "a.jpg")  # a warning would be an error here
    assert len(facts.warnings) == 1
    assert "Corrupt EXIF data" in facts.warnings[0]


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": "fit"}, "resize must be crop or squash or pad, got 'fit'"),
        ({"background": "red"}, "background must be white or black, got 'red'"),
        ({"value_range": (5, 5)}, "value_range must be two numbers, the lower one first, got 5 and 5"),
        ({"value_range": (0, float("nan"))}, "value_range must be two numbers"),
    ],
)
def test_options_are_checked(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Reading(28, 3, **options)


def test_a_range_in_whole_numbers_is_the_same_as_in_fractions():
    assert repr(Reading(28, 1, value_range=(0, 4095))) == repr(Reading(28, 1, value_range=(0.0, 4095.0)))
    ranges = (None, (0, 4095), (0, 4096), (-1, 0.5))
    assert len({Reading(28, 1, value_range=value_range).name for value_range in ranges}) == 4


def test_a_checkpoint_brings_its_options():
    reading = Reading(28, 1, "pad", "black", (0.0, 4095.0))
    assert Reading.of(28, 1, reading.options) == reading
    assert Reading.of(28, 1, {}) == Reading(28, 1)
