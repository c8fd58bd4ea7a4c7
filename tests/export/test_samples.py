"""Images with their answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from untrained import samples_of, untrained

from lit_cnn.export.samples import Samples


def saved(folder: Path) -> Samples:
    """Images of several kinds as files."""
    colours = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    images = {
        "transparent.png": Image.fromarray(colours).convert("RGBA"),
        "deep.png": Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)),
        "colours.png": Image.fromarray(colours),
        "grey.png": Image.fromarray(colours[..., 0]),
    }
    for name, image in images.items():
        image.save(folder / name)
    (folder / "deep.ppm").write_bytes(b"P6 20 30 65535\n" + np.arange(1800, dtype=">u2").tobytes())
    files = tuple(folder / name for name in ("transparent.png", "deep.png", "deep.ppm", "colours.png", "grey.png"))
    return replace(samples_of(untrained(), 5), files=files)


def test_whole_images_are_opaque_and_of_8_bits(tmp_path: Path):
    samples = saved(tmp_path)
    images = dict(samples.whole(64))
    assert list(images) == [3, 4]
    assert images[3].shape == images[4].shape == (1, 3, 20, 30)
    assert torch.equal(images[4][:, 0], images[4][:, 2])
    assert [position for position, _ in samples.whole(1)] == [3]


def test_one_whole_image_is_read_at_a_time(tmp_path: Path):
    samples = saved(tmp_path)
    images = samples.whole(64)
    assert next(images)[0] == 3
    (tmp_path / "grey.png").unlink()
    Image.new("RGB", (7, 5)).save(tmp_path / "grey.png")
    assert next(images)[1].shape == (1, 3, 5, 7)
