"""JPEGs to measure with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NUM_JPEGS = 4000


def make_folder(folder: Path, num_images: int = NUM_JPEGS, num_classes: int = 10) -> None:
    """Writes JPEGs of 256 to 500 pixels a side. Colours change slowly, as in photographs, with some noise."""
    random = np.random.default_rng(0)
    for number in range(num_images):
        height, width = random.integers(256, 501, 2)
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        pixels = (pixels + random.integers(-20, 21, pixels.shape)).clip(0, 255).astype(np.uint8)
        target = folder / f"class{number % num_classes}"
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target / f"{number:05}.jpg", quality=85)
