"""The frame: photographs are stored larger than the network sees them, so that random crops show more than the centre."""

from __future__ import annotations

# Of datasets whose images are cropped by area. A crop of the whole frame shows 1.6 times the area of the centre.
FRAME_OF_CROPS = 1.25
LARGEST_FRAME = 2.0


def choose_frame(given: float | None, image_size: int, crops_by_area: bool) -> float:
    """How many times as large as the network sees them photographs are stored.

    Args:
        given: What the user chose; None for nothing.
        image_size: Height and width that the network sees, in pixels.
        crops_by_area: Whether training crops a part of random area, and evaluation a central square.

    Raises:
        ValueError: If it is out of its range, or too small for one more pixel.
    """
    if given is None:
        return FRAME_OF_CROPS if crops_by_area and side_of(image_size, FRAME_OF_CROPS) > image_size else 1.0
    if not 1 <= given <= LARGEST_FRAME:
        raise ValueError(f"frame must be between 1 and {LARGEST_FRAME:g}, got {given:g}")
    if given > 1 and side_of(image_size, given) == image_size:
        raise ValueError(f"frame={given:g} adds no pixel to images of {image_size}×{image_size}: set 1, or a larger one")
    return float(given)


def side_of(image_size: int, frame: float) -> int:
    """Height and width of the stored images, in pixels."""
    return round(image_size * frame)


def resize_size_of(image_size: int, frame: float) -> int | None:
    """Height and width from whose centre ``image_size`` is cut; None if the network sees all of an image."""
    return side_of(image_size, frame) if frame > 1 else None


def start_of_centre(whole: int, part: int) -> int:
    """Where the centre begins. Rounds half to even, as torchvision does."""
    return round((whole - part) / 2)
