"""How runs without a saved :class:`lit_cnn.data.reading.Reading` read their files: by an earlier version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from lit_cnn.data.reading import Reading


@dataclass(frozen=True)
class EarlierReading(Reading):
    """Gives the pixels of the earlier version, so that its runs predict and resume with what they were trained on.

    Transparent pixels have the colour that is stored in them. Grey values of 16 bits become black and white at 0 and 65535,
    fractions at 0 and 255. Of colours with 16 bits, the high bytes are taken. ``resize``, ``background`` and
    ``value_range`` have no effect.
    """

    keeps_low_bytes: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return f"earlier-{super().name}"

    @property
    def options(self) -> dict[str, Any]:
        return Reading(self.image_size, self.channels).options | {"version": 1}

    def _opaque(self, image: Image.Image) -> tuple[Image.Image, bool]:
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
        return image.convert(self._mode), False


def trained_reading(image_size: int, channels: int, data: Mapping[str, Any]) -> Reading:
    """How the files of a training were read.

    Args:
        image_size: Height and width at which files are decoded.
        channels: 1 for grey, 3 for colour.
        data: What the checkpoint saved of its data, see :meth:`lit_cnn.data.module.ImageDataModule.state_dict`.
    """
    options = data.get("reading", {})
    # Only datasets of files divide their images into test images and others; the images of others were never in files.
    is_earlier = "test_fraction" in data.get("split", {}) if not options else options.get("version") == 1
    return EarlierReading(image_size, channels) if is_earlier else Reading.of(image_size, channels, options)
