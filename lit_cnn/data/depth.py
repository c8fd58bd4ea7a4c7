"""Images with more than 8 bits a value: which of their values become black and white."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

# The largest values of 8, 10, 12, 14 and 16 bits; and those to which fractions are usually scaled.
WHOLE_SCALES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
FRACTION_SCALES = (1.0, 255.0, 65535.0)
# Values that take a smaller share of a full scale would leave few levels: their own range is taken.
MIN_SHARE = 0.25
# So many pixels are converted at a time, which takes little memory.
BLOCK = 2**20
# The last letter of Pillow's raw modes: big and little endian, and as the processor's.
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


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
    """Whether an image of this Pillow mode has more than 8 bits a value. All such modes are grey."""
    return mode in ("I", "F") or mode.startswith("I;16")


def keep_colours_of_16_bits(image: ImageFile) -> None:
    """Has a PPM with colours of 16 bits decoded by high and low bytes, like other formats; Pillow scales them to 8 bits."""
    if image.format == "PPM":
        is_deep_tile = [(tile.codec_name, tile.args) == ("ppm", ("RGB", 65535)) for tile in image.tile]
        if all(is_deep_tile):
            image.tile = [tile._replace(codec_name="raw", args="RGB;16B") for tile in image.tile]


def low_bytes_tiles(image: ImageFile) -> list[Any] | None:
    """How to decode the low bytes of colours, or of grey with opacity, of 16 bits, as ``image.tile``; None for other images.

    Pillow has no mode for such images: it takes the high bytes. In the other byte order it takes the low ones.
    """
    tiles = []
    for tile in image.tile:
        arguments = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        rawmode = arguments[0] if arguments else None
        if rawmode == "LA;16B":
            other = "RGBA"  # all four bytes, see colours_of
        elif isinstance(rawmode, str) and rawmode[:-1] in ("RGB;16", "RGBA;16", "RGBX;16"):
            other = f"{rawmode[:-1]}{_OTHER_ORDER[rawmode[-1]]}"
        else:
            return None
        swapped = (other, *arguments[1:])
        tiles.append(tile._replace(args=swapped if isinstance(tile.args, tuple) else swapped[0]))
    return tiles or None


def colours_of(high: Image.Image, low: Image.Image, tiles: list[Any]) -> NDArray[np.uint16]:
    """The colours of 16 bits, (H, W, 3).

    Args:
        high: The image with the high bytes.
        low: The image with the low bytes.
        tiles: How these were decoded, see :func:`low_bytes_tiles`.
    """
    # Of grey with opacity, all four bytes were decoded; the second is the low byte of the grey value.
    channels = [1, 1, 1] if tiles[0].args in ("RGBA", ("RGBA",)) else [0, 1, 2]
    return np.asarray(high)[..., :3].astype(np.uint16) << 8 | np.asarray(low)[..., channels]


def values_of(pixels: NDArray[Any], key: int | None = None) -> Values:
    """The values in a deep image; 0 if none is finite.

    Args:
        pixels: The image.
        key: A value that stands for transparent pixels.
    """
    is_whole = pixels.dtype.kind in "iu"
    finite = pixels if is_whole else pixels[np.isfinite(pixels)]
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


def to_8_bits(pixels: NDArray[Any], value_range: tuple[float, float]) -> NDArray[np.uint8]:
    """A deep image with 8 bits a value.

    Args:
        pixels: The image.
        value_range: The values that become 0 and 255. Others are clipped; NaN and infinity become 0.
    """
    low, high = value_range
    scaled = np.empty(pixels.shape, np.uint8)
    rows = max(1, BLOCK // max(1, pixels[0].size))
    for start in range(0, len(pixels), rows):
        values = pixels[start : start + rows].astype(np.float64)
        values[~np.isfinite(values)] = low
        scaled[start : start + rows] = (values.clip(low, high) - low) / (high - low) * 255 + 0.5
    return scaled


def colour_key(image: Image.Image) -> int | None:
    """The value of a grey image that stands for transparent pixels; None if there is none."""
    key = image.info.get("transparency")
    return key if isinstance(key, int) else None
