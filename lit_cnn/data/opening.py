"""Opens image files, and says which colours they have."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from PIL import Image
from PIL.ImageFile import ImageFile

from lit_cnn.data.depth import is_deep, keep_colours_of_16_bits, low_bytes_tiles
from lit_cnn.data.formats import FORMATS
from lit_cnn.data.library_warnings import recorded_warnings
from lit_cnn.data.metadata import without_metadata

Result = TypeVar("Result")

# The Pillow modes that hold one luminance value per pixel, beside the deep ones.
GREY_MODES = {"1", "L", "LA", "La"}


def is_grey(path: Path, content: IO[bytes] | None = None) -> bool:
    """Whether an image file has one channel, according to its header.

    Args:
        path: The file.
        content: Its content, if it was read already.

    Raises:
        ValueError: If the file is not an image; names it.
    """
    return header_of(path, content).is_grey


def is_grey_mode(mode: str) -> bool:
    """Whether a Pillow mode holds one luminance value per pixel, with or without opacity."""
    return mode in GREY_MODES or is_deep(mode)


@dataclass(frozen=True)
class Header:
    """What the header of an image file says.

    Args:
        is_grey: Whether the image has one channel.
        is_deep: Whether it has more than 8 bits a value.
    """

    is_grey: bool
    is_deep: bool

    @classmethod
    def read(cls, file: Path | IO[bytes], name: str = "") -> Header:
        """The header of a file, with Pillow's own errors; ``name`` as in :func:`open_image`."""
        with open_image(file, name) as image:
            return cls(is_grey_mode(image.mode), is_deep(image.mode) or low_bytes_tiles(image) is not None)


def header_of(path: Path, content: IO[bytes] | None = None) -> Header:
    """What the header of an image file says, see :func:`is_grey`."""
    try:
        with recorded_warnings():
            return despite_metadata(partial(Header.read, name=path.name), content or path)
    except Exception as error:  # see despite_metadata
        raise ValueError(f"{path} is not a readable image ({reason(error)})") from error


def despite_metadata(read: Callable[[Path | IO[bytes]], Result], file: Path | IO[bytes]) -> Result:
    """What ``read`` returns for a file; if it fails, for the file without its metadata.

    Args:
        read: Reads a path or an open file with Pillow. Its decoders raise errors of any class: beside OSError, ValueError
            and SyntaxError also struct.error, IndexError, EOFError, zlib.error and others.
        file: The file.
    """
    try:
        return read(file)
    except Exception:  # any decoder's error, as above; it is raised unless the rest of the file can be read
        stripped = without_metadata(_bytes_of(file))
        if stripped is None:
            raise
        with suppress(Exception):  # the first error tells more
            return read(io.BytesIO(stripped))
        raise


@contextmanager
def open_image(file: Path | IO[bytes], name: str = "") -> Iterator[ImageFile]:
    """Opens an image without Pillow's own limit of size, which counts a JPEG before it is scaled down.

    ``Image.open`` has no other way to leave it out than a setting for the whole process.

    Args:
        file: The file.
        name: Its name, by which a TGA is known; not needed for a path.

    Raises:
        ValueError: If no format that is read fits, with what the fitting one says.
    """
    with _opened(file) as stream:
        prefix = stream.read(16)
        if not prefix:
            raise ValueError("the file is empty")
        name = str(file) if isinstance(file, Path) else name
        problem: Exception | None = None
        for image_format in FORMATS:
            factory, accept = Image.OPEN[image_format]
            # Its files have no mark: by content alone, many a broken file would be one.
            if image_format == "TGA" and not name.lower().endswith(".tga"):
                continue
            if accept is not None and accept(prefix) is not True:
                continue
            stream.seek(0)
            try:
                # With the name, Pillow 13 maps a TIFF that is turned by 90° with its sides exchanged.
                image = factory(stream, "")
            except Exception as error:  # of many classes
                problem = error
                continue
            keep_colours_of_16_bits(image)
            yield image  # the stream is its caller's to close
            return
        if problem is not None:
            raise ValueError(reason(problem)) from problem
        raise ValueError("its content is of no image format that is read")


@contextmanager
def _opened(file: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    if isinstance(file, Path):
        with file.open("rb") as stream:
            yield stream
    else:
        file.seek(0)
        yield file


def _bytes_of(file: Path | IO[bytes]) -> bytes:
    """The content of a file."""
    with _opened(file) as stream:
        return stream.read()


def reason(error: Exception) -> str:
    """The text of an error in one line; the name of its class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
