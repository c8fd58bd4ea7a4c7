"""The stand-alone script reads files as training does."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from untrained import untrained

from lit_cnn.data.reading import Reading
from lit_cnn.export.card import describe_preprocessing
from lit_cnn.export.export import SCRIPT
from lit_cnn.export.network import ExportedNetwork

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A smooth picture with sharp edges."""
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    image.paste((255, 0, 0), (width // 3, 0, width // 2, height))
    if mode in ("RGBA", "LA", "PA", "La"):
        image.putalpha(Image.linear_gradient("L").resize((width, height)))
    return image if image.mode == mode else image.convert(mode)


FILES = {
    "wide.jpg": lambda path: picture(300, 200).save(path),
    "large.jpg": lambda path: picture(900, 1300).save(path, quality=60),
    "turned.jpg": lambda path: picture(300, 200).save(path, exif=turned(6)),
    "mirrored.jpg": lambda path: picture(31, 77).save(path, exif=turned(5)),
    "grey.jpg": lambda path: picture(100, 90, "L").save(path),
    "cmyk.jpg": lambda path: picture(100, 90, "CMYK").save(path),
    "small.png": lambda path: picture(20, 9).save(path),
    "transparent.png": lambda path: picture(120, 80, "RGBA").save(path),
    "grey_transparent.png": lambda path: picture(120, 80, "LA").save(path),
    "palette.png": lambda path: picture(120, 80, "P").save(path),
    "keyed.png": lambda path: picture(120, 80, "P").save(path, transparency=3),
    "bits.png": lambda path: picture(64, 64, "1").save(path),
    "frames.gif": lambda path: picture(50, 40).save(path, save_all=True, append_images=[picture(50, 40, "L")]),
    "picture.webp": lambda path: picture(50, 40, "RGBA").save(path),
    "picture.tif": lambda path: picture(50, 40).save(path),
    "line.bmp": lambda path: picture(400, 3).save(path),
}


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("name", FILES)
def test_files_become_the_same_pixels(script: dict[str, Any], name: str, tmp_path: Path):
    FILES[name](tmp_path / name)
    for channels in (1, 3):
        for resize in ("crop", "squash", "pad"):
            for background in ("white", "black"):
                reading = Reading(32, channels, resize, background)
                trained = untrained(channels, reading)
                how = describe_preprocessing(trained, ExportedNetwork.of(trained))
                expected = reading.read(tmp_path / name).permute(1, 2, 0).numpy()
                assert np.array_equal(script["read_image"](tmp_path / name, how), expected), (channels, resize, background)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_images_are_refused(script: dict[str, Any], mode: str, tmp_path: Path):
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)).convert(mode).save(tmp_path / "deep.tif")
    trained = untrained()
    how = describe_preprocessing(trained, ExportedNetwork.of(trained))
    with pytest.raises(ValueError, match=r"deep\.tif has more than 8 bits a value: lit-cnn predict reads it"):
        script["read_image"](tmp_path / "deep.tif", how)


def test_it_is_short():
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) <= 70
