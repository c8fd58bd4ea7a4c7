"""Images with more than 8 bits a pixel: which of their values become black and white."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# The largest values of 8, 10, 12, 14 and 16 bits; and those to which fractions are usually scaled.
WHOLE_SCALES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
FRACTION_SCALES = (1.0, 255.0, 65535.0)
# Values that take a smaller share of a full scale would leave few levels: their own range is taken.
MIN_SHARE = 0.25
# So many pixels are converted at a time, which takes little memory.
BLOCK = 2**20


@dataclass(frozen=True)
class Values:
    """The values in deep images.

    Args:
        low: The lowest, of those that are finite.
        high: The highest, likewise.
        is_whole: Whether they are whole numbers.
        is_finite: Whether there are no others: no NaN, no infinity.
    """

    low: float
    high: float
    is_whole: bool
    is_finite: bool = True


def is_deep(mode: str) -> bool:
    """Whether an image of this Pillow mode has more than 8 bits a pixel. All such modes are grey."""
    return mode in ("I", "F") or mode.startswith("I;16")


def values_of(image: Image.Image) -> Values:
    """The values in a deep image; 0 if none is finite."""
    pixels = np.asarray(image)
    is_whole = pixels.dtype.kind in "iu"
    finite = pixels if is_whole else pixels[np.isfinite(pixels)]
    key = _colour_key(image)
    if key is not None:
        finite = finite[finite != key]
    if not finite.size:
        return Values(0.0, 0.0, is_whole, is_whole)
    is_finite = is_whole or bool(np.isfinite(pixels).all())
    return Values(float(finite.min()), float(finite.max()), is_whole, is_finite)


def full_scale(values: Iterable[Values]) -> tuple[float, float] | None:
    """The range of values that is shown as black to white, for all these images; None if there are none.

    It is the smallest full scale that holds all values: 0 to 255, 1023, 4095, 16383 or 65535 for whole numbers, 0 to 1, 255
    or 65535 for fractions. If there is none, or the values take less than a quarter of it, it is from the lowest value to
    the highest.
    """
    listed = list(values)
    if not listed:
        return None
    low, high = min(one.low for one in listed), max(one.high for one in listed)
    scales = WHOLE_SCALES if all(one.is_whole for one in listed) else FRACTION_SCALES
    fitting = next((scale for scale in scales if low >= 0 and high <= scale), None)
    if fitting is not None and (low == high or high - low >= MIN_SHARE * fitting):
        return 0.0, fitting
    return low, high if high > low else low + 1


def to_grey(image: Image.Image, value_range: tuple[float, float] | None, background: str) -> tuple[Image.Image, bool]:
    """A deep image with 8 bits, and whether it has transparent pixels.

    Args:
        image: The image.
        value_range: The values that become 0 and 255. Others are clipped; NaN and infinity become 0. If None, the
            :func:`full_scale` of this image.
        background: Colour of the pixels that are transparent: those of the file's colour key.
    """
    low, high = value_range or full_scale([values_of(image)]) or (0.0, 1.0)
    pixels = np.asarray(image)
    grey = np.empty(pixels.shape, np.uint8)
    rows = max(1, BLOCK // max(1, pixels.shape[1]))
    for start in range(0, len(pixels), rows):
        grey[start : start + rows] = _scaled(pixels[start : start + rows], low, high)
    key = _colour_key(image)
    is_transparent = key is not None and bool((pixels == key).any())
    if is_transparent:
        grey[pixels == key] = 255 if background == "white" else 0
    return Image.fromarray(grey), is_transparent


def _scaled(pixels: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    values = pixels.astype(np.float64)
    values[~np.isfinite(values)] = low
    return (((values.clip(low, high) - low) / (high - low)) * 255 + 0.5).astype(np.uint8)


def _colour_key(image: Image.Image) -> int | None:
    key = image.info.get("transparency")
    return key if isinstance(key, int) else None
