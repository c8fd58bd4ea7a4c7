"""From an image file to pixels, the same for training, evaluation, prediction and the checks of ``lit-cnn doctor``."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lit_cnn.data.depth import Values, colour_key, colours_of, full_scale, is_deep, low_bytes_tiles, to_8_bits, values_of
from lit_cnn.data.library_warnings import recorded_warnings
from lit_cnn.data.metadata import upright
from lit_cnn.data.opening import despite_metadata, open_image, reason

Resize: TypeAlias = Literal["crop", "squash", "pad"]
Background: TypeAlias = Literal["white", "black"]

# Largest image, after the JPEG decoder has reduced it. Decoded in colour it takes 200 MB.
MAX_PIXELS = 2**26
# Version of :meth:`Reading.read`, part of the cache's digest: raise it when the same file gives other pixels.
DECODING = 3


@dataclass(frozen=True)
class ImageFacts:
    """What a file holds.

    Args:
        mode: Pillow's mode, for example ``RGB``.
        size: Width and height in pixels, as stored.
        num_frames: Number of its images, of which the first is read.
        is_transparent: Whether it has pixels that are not opaque.
        values: Its values, if it is deep.
        warnings: What the library that decodes it warned of.
    """

    mode: str
    size: tuple[int, int]
    num_frames: int
    is_transparent: bool
    values: Values | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """How a file becomes pixels.

    The EXIF orientation is applied, transparent pixels are put on a background, deep images get 8 bits, the first of several
    images in a file is taken. Then the image is made square.

    Args:
        image_size: Height and width of the result, in pixels.
        channels: 1 for grey, 3 for colour; the image is converted.
        resize: ``crop`` resizes the shorter side and takes the central square. ``squash`` resizes the whole image to a
            square, whatever its proportions. ``pad`` resizes the longer side and fills up with bars of the background.
        background: Colour behind transparent pixels, and of bars.
        value_range: The values of a deep image (16 or 32 bits a value, or fractions) that become black and white; the full
            scale of the file itself if None, see :func:`lit_cnn.data.depth.full_scale`. Images of 8 bits have a range of
            their own, 0 to 255, also beside deep ones.

    Raises:
        ValueError: If an argument is none of these.
    """

    image_size: int
    channels: int
    resize: Resize = "crop"
    background: Background = "white"
    value_range: tuple[float, float] | None = None

    keeps_low_bytes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, value, choices in (("resize", self.resize, Resize), ("background", self.background, Background)):
            if value not in get_args(choices):
                raise ValueError(f"{name} must be {' or '.join(get_args(choices))}, got {value!r}")
        if self.value_range is not None:
            low, high = map(float, self.value_range)
            object.__setattr__(self, "value_range", (low, high))  # 0 and 0.0 are the same, also in a digest
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"value_range must be two numbers, the lower one first, got {low:g} and {high:g}")

    @property
    def name(self) -> str:
        """What is not as by default, size and channels, for the name of a file."""
        chosen = [one for one, usual in ((self.resize, "crop"), (self.background, "white")) if one != usual]
        chosen += [] if self.value_range is None else [f"{self.value_range[0]:.9g}to{self.value_range[1]:.9g}"]
        return "-".join([*chosen, f"{self.image_size}x{self.channels}"])

    @property
    def options(self) -> dict[str, Any]:
        """All but size and channels, as a checkpoint saves them."""
        value_range = None if self.value_range is None else list(self.value_range)
        return {"resize": self.resize, "background": self.background, "value_range": value_range}

    @classmethod
    def of(cls, image_size: int, channels: int, options: dict[str, Any]) -> Reading:
        """The reading with the :attr:`options` of a checkpoint; what it does not say is as by default."""
        value_range = options.get("value_range")
        given = {name: options[name] for name in ("resize", "background") if name in options}
        return cls(image_size, channels, **given, value_range=None if value_range is None else tuple(value_range))

    def check_trained(self, trained: Reading, may_change_range: bool) -> None:
        """Checks that this reading can be replaced by that of a checkpoint, which is tested or resumed.

        Args:
            trained: The reading of the checkpoint.
            may_change_range: Whether the range of this reading was not chosen by the user.

        Raises:
            ValueError: If the user chose other options.
        """
        for name in ("resize", "background", "value_range"):
            value = trained.options[name]
            if self.options[name] != value and not (name == "value_range" and may_change_range):
                shown = "null" if value is None else value
                raise ValueError(
                    f"the checkpoint was trained with data.{name}={shown}, which it needs: set data.{name}={shown}"
                )

    def read(self, path: Path) -> Tensor:
        """Decodes a file.

        Shape:
            Output uint8 (channels, image_size, image_size).

        Raises:
            ValueError: If the file is not an image, is truncated, or is too large; names it.
        """
        return self.examine(path, count_frames=False)[0]

    def examine(self, path: Path, count_frames: bool = True) -> tuple[Tensor, ImageFacts]:
        """As :meth:`read`, and what the file holds."""
        try:
            return self.decode(path, count_frames)
        except Exception as error:  # Pillow's decoders raise errors of many classes
            raise ValueError(f"{path} cannot be decoded as an image ({reason(error)})") from error

    def decode(self, file: Path | IO[bytes], count_frames: bool = False) -> tuple[Tensor, ImageFacts]:
        """:meth:`examine` for a path or an open file, with Pillow's own errors."""
        return despite_metadata(partial(self._decode, count_frames=count_frames), file)

    def _decode(self, file: Path | IO[bytes], count_frames: bool) -> tuple[Tensor, ImageFacts]:
        with recorded_warnings() as warnings, open_image(file) as image:
            mode, size = image.mode, image.size
            # Lets the JPEG decoder skip detail that resizing would discard, on the side that counts.
            image.draft(self._mode, self._inner_size(size) if self.resize == "pad" else self._square)
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}×{image.height} pixels are more than {MAX_PIXELS:,}")
            low_bytes = low_bytes_tiles(image) if self.keeps_low_bytes else None
            image.load()
            values, has_key = None, False
            if low_bytes is not None:
                values, has_key = self._deepen(image, file, low_bytes)
            elif is_deep(image.mode) and count_frames:
                values = values_of(np.asarray(image), colour_key(image))
            pixels, is_transparent = self.pixels_of(image)
            num_frames = 1
            if count_frames:
                with suppress(Exception):  # later ones may be broken
                    num_frames = int(getattr(image, "n_frames", 1))
        return pixels, ImageFacts(mode, size, num_frames, is_transparent or has_key, values, tuple(dict.fromkeys(warnings)))

    def _deepen(self, image: Image.Image, file: Path | IO[bytes], low_bytes: list[Any]) -> tuple[Values, bool]:
        """Replaces colours of 16 bits by 8 bits; returns their values, and whether any is the colour that is transparent."""
        with open_image(file) as low:
            low.tile = low_bytes
            low.load()
            colours = colours_of(image, low, low_bytes)
        values = values_of(colours)
        pixels = to_8_bits(colours, self.value_range or full_scale([values]) or (0.0, 65535.0))
        key = image.info.pop("transparency", None)
        transparent = (colours == np.array(key if isinstance(key, tuple) else -1)).all(-1)
        pixels[transparent] = 255 if self.background == "white" else 0
        eight = Image.fromarray(pixels)
        if image.mode == "RGBA":
            eight.putalpha(image.getchannel("A"))
        image.paste(eight)
        return values, bool(transparent.any())

    def pixels_of(self, image: Image.Image) -> tuple[Tensor, bool]:
        """The steps after decoding, with Pillow's own errors; and whether there are transparent pixels."""
        image, is_transparent = self._opaque(upright(image))
        size = self.image_size
        if self.resize == "crop":
            square = ImageOps.fit(image, self._square, Image.Resampling.BILINEAR)
        elif self.resize == "squash":
            square = image.resize(self._square, Image.Resampling.BILINEAR)
        else:
            width, height = inner = self._inner_size(image.size)
            square = Image.new(self._mode, self._square, self.background)
            square.paste(image.resize(inner, Image.Resampling.BILINEAR), ((size - width) // 2, (size - height) // 2))
        pixels = torch.from_numpy(np.array(square)).view(size, size, self.channels).permute(2, 0, 1)
        return pixels, is_transparent

    def _opaque(self, image: Image.Image) -> tuple[Image.Image, bool]:
        """The image in grey or colour with 8 bits, on the background; and whether it has transparent pixels."""
        if is_deep(image.mode):
            values, key = np.asarray(image), colour_key(image)
            grey = to_8_bits(values, self.value_range or full_scale([values_of(values, key)]) or (0.0, 1.0))
            transparent = np.zeros(grey.shape, bool) if key is None else values == key
            grey[transparent] = 255 if self.background == "white" else 0
            return Image.fromarray(grey).convert(self._mode), bool(transparent.any())
        if not image.has_transparency_data:
            return image.convert(self._mode), False
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        opacity = image.getchannel("A")
        lowest, _ = opacity.getextrema()
        if lowest == 255:
            return image.convert(self._mode), False
        # Before resizing: the colours of transparent pixels, which nobody sees, would shine through at edges.
        ground = Image.new("RGB", image.size, self.background)
        ground.paste(image, mask=opacity)
        return ground.convert(self._mode), True

    @property
    def _mode(self) -> str:
        return "L" if self.channels == 1 else "RGB"

    @property
    def _square(self) -> tuple[int, int]:
        return self.image_size, self.image_size

    def _inner_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height of the whole image in the square, as ``pad`` places it."""
        longer = max(size)
        width, height = (max(1, round(side * self.image_size / longer)) for side in size)
        return width, height


def read_image(
    path: Path,
    image_size: int,
    channels: int,
    resize: Resize = "crop",
    background: Background = "white",
    value_range: tuple[float, float] | None = None,
) -> Tensor:
    """Decodes a file, see :class:`Reading` for the arguments and :meth:`Reading.read`."""
    return Reading(image_size, channels, resize, background, value_range).read(path)


def values_in(path: Path) -> Values | None:
    """The values in a deep image; None if the file holds another image, or cannot be decoded."""
    with suppress(ValueError):
        return Reading(1, 1).examine(path)[1].values
    return None
