"""The stand-alone script reads files as training does."""

from __future__ import annotations

import csv
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from untrained import untrained

from lit_cnn.data.earlier_reading import EarlierReading
from lit_cnn.data.reading import Reading
from lit_cnn.export.card import describe_preprocessing
from lit_cnn.export.network import ExportedNetwork
from lit_cnn.export.script import SCRIPT

onnxruntime = pytest.importorskip("onnxruntime")


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
    "turned.tif": lambda path: picture(50, 40, "L").save(path, exif=turned(6)),
    "turned_transparent.tif": lambda path: picture(50, 40, "RGBA").save(path, exif=turned(5)),
    "line.bmp": lambda path: picture(400, 3).save(path),
    "picture.tga": lambda path: picture(50, 40).save(path),
    "8_bits.ppm": lambda path: picture(50, 40).save(path),
    "10_bits.ppm": lambda path: path.write_bytes(b"P6 20 30 1023\n" + np.arange(1800, dtype=">u2").clip(0, 1023).tobytes()),
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
                how = preprocessing(reading)
                expected = reading.read(tmp_path / name).permute(1, 2, 0).numpy()
                assert np.array_equal(script["read_image"](tmp_path / name, how), expected), (channels, resize, background)


@pytest.mark.parametrize("name", ["wide.jpg", "transparent.png", "grey_transparent.png", "keyed.png"])
def test_runs_of_the_earlier_version_keep_their_pixels(script: dict[str, Any], name: str, tmp_path: Path):
    FILES[name](tmp_path / name)
    for channels in (1, 3):
        reading = EarlierReading(32, channels)
        expected = reading.read(tmp_path / name).permute(1, 2, 0).numpy()
        assert np.array_equal(script["read_image"](tmp_path / name, preprocessing(reading)), expected)


def preprocessing(reading: Reading | None = None) -> dict[str, Any]:
    """The content of ``preprocess.json``, as it is read from there."""
    trained = untrained(3 if reading is None else reading.channels, reading)
    return json.loads(json.dumps(describe_preprocessing(trained, ExportedNetwork.of(trained))))


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_images_are_refused(script: dict[str, Any], mode: str, tmp_path: Path):
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)).convert(mode).save(tmp_path / "deep.tif")
    with pytest.raises(ValueError, match=r"^more than 8 bits a value: lit-cnn predict reads it$"):
        script["read_image"](tmp_path / "deep.tif", preprocessing())


def test_colours_of_16_bits_in_a_ppm_are_refused(script: dict[str, Any], tmp_path: Path):
    (tmp_path / "deep.ppm").write_bytes(b"P6 20 30 65535\n" + np.arange(1800, dtype=">u2").tobytes())
    with pytest.raises(ValueError, match="more than 8 bits a value"):
        script["read_image"](tmp_path / "deep.ppm", preprocessing())


@pytest.mark.parametrize("content", ["EPS", "TGA"])
def test_other_formats_are_refused_whatever_the_file_is_called(script: dict[str, Any], content: str, tmp_path: Path):
    picture(20, 20).save(tmp_path / "picture.jpg", content)
    with pytest.raises(Image.UnidentifiedImageError):
        script["read_image"](tmp_path / "picture.jpg", preprocessing())


class FakeSession:
    """Answers with the second class."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert inputs["images"].shape == (1, 32, 32, 3)
        assert inputs["images"].dtype == np.uint8
        return [np.array([[0.25, 0.75, 0.0]], np.float32)]


def run_script(folder: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs a copy of the script in this process; the status of its end."""
    (folder / SCRIPT.name).write_bytes(SCRIPT.read_bytes())
    (folder / "preprocess.json").write_text(json.dumps(preprocessing()))
    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, "--images", str(images), "--output", str(folder / "out.csv")])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(folder / SCRIPT.name), run_name="__main__")
    return end.value.code


def test_files_that_cannot_be_read_are_named_and_the_others_classified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    images = tmp_path / ".images"
    (images / ".thumbnails").mkdir(parents=True)
    for name in ("a.png", "c.png", ".thumbnails/a.png"):
        picture(20, 20).save(images / name)
    (images / "._a.png").write_bytes(b"of a Mac")
    assert run_script(tmp_path, images, monkeypatch) == 0
    (images / "b.png").write_bytes(b"no image")
    assert run_script(tmp_path, images, monkeypatch) == 1
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = [(Path(row["file"]).name, row["class"], row["probability"]) for row in csv.DictReader(file)]
    assert rows == [("a.png", "bee", "0.750000"), ("c.png", "bee", "0.750000")]
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{images / 'b.png'} cannot be read: cannot identify image file")


def test_linked_folders_are_entered_once_and_folders_of_systems_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images, elsewhere = tmp_path / "images", tmp_path / "elsewhere"
    for folder in (images / "ant" / "@eaDir", images / "__MACOSX", elsewhere):
        folder.mkdir(parents=True)
        picture(20, 20).save(folder / "a.png")
    picture(20, 20).save(images / "ant" / "b.png")
    (images / "bee").symlink_to(elsewhere, target_is_directory=True)
    (images / "again").symlink_to(images / "ant", target_is_directory=True)
    (images / "also").symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "up").symlink_to(tmp_path, target_is_directory=True)
    (images / "c.png").symlink_to(images / "ant" / "b.png")
    (images / "gone.png").symlink_to(images / "nowhere")
    assert run_script(tmp_path, images, monkeypatch) == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        found = [Path(row["file"]).relative_to(images).as_posix() for row in csv.DictReader(file)]
    assert found == ["also/a.png", "ant/b.png", "c.png"]  # of two links, the first name


def test_no_image_is_an_error_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "empty").mkdir()
    for name, lack in (("missing", "file or folder"), ("empty", "image in")):
        assert run_script(tmp_path, tmp_path / name, monkeypatch) == 2
        assert capsys.readouterr().err.endswith(f"error: --images: there is no {lack} {tmp_path / name}\n")
        assert not (tmp_path / "out.csv").exists()


def test_a_table_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    picture(20, 20).save(tmp_path / "a.png")
    (tmp_path / "out.csv").mkdir()
    assert run_script(tmp_path, tmp_path / "a.png", monkeypatch) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith(f"error: --output: {tmp_path / 'out.csv'} cannot be written: Is a directory")


def test_it_is_short():
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) <= 85
