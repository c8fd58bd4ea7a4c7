"""Images as a user gives them, brought to the size on which a network was trained."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from lit_cnn.data.depth import low_bytes_tiles
from lit_cnn.data.library_warnings import recorded_warnings
from lit_cnn.data.opening import reason
from lit_cnn.data.reading import Reading
from lit_cnn.data.rows import as_path, is_table, read_table
from lit_cnn.data.scan import count_left_out, describe_left_out, scan
from lit_cnn.inference.batches import BadImage
from lit_cnn.system.paths import expand

OneImage: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor

CHANNELS = (1, 3, 4)  # grey, RGB, and RGB with an opacity, for which there is a background, as in files
TAKEN = (
    "predict takes files, a folder, PIL images, uint8 arrays (H, W), (H, W, C) or (N, H, W, C), uint16 arrays (H, W), "
    "and uint8 tensors (C, H, W) or (N, C, H, W), where C is 1, 3 or 4; one of them, or a list"
)


class UnreadableImageError(ValueError):
    """A file among the given images cannot be decoded."""


class GivenFiles:
    """Image files, read one after another; their list may come from a pipe and have no end.

    Args:
        files: The files in order, alone or each with more that belongs to it, such as its label.
        reading: How a file becomes pixels: as in training.
        skip_bad: Whether a file that cannot be decoded is a :class:`lit_cnn.inference.batches.BadImage`. Otherwise it is an
            error.
    """

    def __init__(self, files: Iterable[Any], reading: Reading, skip_bad: bool = False) -> None:
        self.files = files
        self.reading = reading
        self.skip_bad = skip_bad

    def __iter__(self) -> Iterator[Any]:
        return iter(self.files)

    def read(self, item: Any) -> Tensor | BadImage:
        """The pixels of a file, uint8 (channels, image_size, image_size).

        Raises:
            UnreadableImageError: If it cannot be decoded, and bad files are not skipped; names it.
        """
        return read_file(file_of(item), self.reading, self.skip_bad)


class GivenImages:
    """A set of images as Python has them; files are decoded when they are asked for.

    Args:
        images: One image or many, see :meth:`lit_cnn.inference.trained.Trained.predict`.
        reading: How a file becomes pixels: as in training.
        skip_bad: Whether a file that cannot be decoded is a :class:`lit_cnn.inference.batches.BadImage`. Otherwise it is an
            error.

    Raises:
        ValueError: If there is no image, or something else was given; says what is taken.
    """

    def __init__(
        self, images: OneImage | list[OneImage] | tuple[OneImage, ...], reading: Reading, skip_bad: bool = False
    ) -> None:
        self.reading = reading
        self.skip_bad = skip_bad
        items, self.is_single = _list_images(images, must_exist=not skip_bad)
        names = ["the image"] if self.is_single else [f"images[{i}]" for i in range(len(items))]
        self.items = [self._prepare(item, name) for item, name in zip(items, names, strict=True)]

    def __iter__(self) -> Iterator[Path | Tensor]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def read(self, item: Path | Tensor) -> Tensor | BadImage:
        """The pixels of one of ``items``, see :meth:`GivenFiles.read`."""
        return item if isinstance(item, Tensor) else read_file(item, self.reading, self.skip_bad)

    def _prepare(self, item: Any, name: str) -> Path | Tensor:
        """A file as its path; any other image as uint8 pixels (channels, image_size, image_size)."""
        if isinstance(item, (str, os.PathLike)):
            path = expand(os.fspath(item))
            return path if self.skip_bad else _existing(path, name)
        image = item if isinstance(item, Image.Image) else _as_pil(item, name)
        try:
            if _is_file(image):
                position = image.fp.tell()
                pixels, _ = self.reading.decode(image.fp)
                image.fp.seek(position)
                if not isinstance(image, JpegImageFile):
                    image.load()  # which closes the file
                return pixels
            with recorded_warnings():
                image.load()
                return self.reading.pixels_of(image)[0]
        except Exception as error:  # Pillow's decoders raise many types
            raise ValueError(f"{name} cannot be decoded as an image ({reason(error)})") from error


def file_of(item: Any) -> Path | None:
    """The path of an image that was given as a file, alone or as the first of a tuple."""
    first = item[0] if isinstance(item, tuple) else item
    return first if isinstance(first, Path) else None


def read_file(file: Path, reading: Reading, skip_bad: bool) -> Tensor | BadImage:
    """The pixels of a file, see :meth:`GivenFiles.read`."""
    try:
        return reading.read(file)
    except ValueError as error:
        message = str(error) if file.exists() else f"there is no file {file}"
        if file.is_dir():
            message = f"{file} is a folder, and a list names image files"
        if not skip_bad:
            raise UnreadableImageError(message) from error
        return BadImage(file, message)


def _is_file(image: Image.Image) -> TypeGuard[ImageFile]:
    """Whether an image is opened but not decoded, and its file gives more than Pillow's image.

    A large JPEG is decoded at a reduced scale, colours of 16 bits keep them, and a turned TIFF keeps its sides.
    """
    if not isinstance(image, ImageFile) or not image.tile or not image.fp or image.tell() != 0:
        return False
    return isinstance(image, (JpegImageFile, TiffImageFile)) or low_bytes_tiles(image) is not None


def _list_images(images: Any, must_exist: bool = True) -> tuple[list[Any], bool]:
    """The images one by one, and whether one image was given alone."""
    if isinstance(images, (str, os.PathLike)):
        path = expand(os.fspath(images))
        if is_table(path):
            return [file for file, _ in files_in(path, must_exist=must_exist)], False
        if path.is_file():
            return [path], True
        if not path.is_dir():
            raise ValueError(f"there is no file or folder {path}")
        return [path / name for name in images_in(path)], False
    if isinstance(images, (list, tuple)) or (isinstance(images, (np.ndarray, Tensor)) and images.ndim == 4):
        if len(images) == 0:
            raise ValueError(f"there is no image: the {_type_name(images)} is empty")
        return list(images), False
    return [images], True


def images_in(folder: Path) -> list[str]:
    """Paths of the images below a folder, relative to it, with ``/``; warns if files are left out that a user may miss.

    Raises:
        ValueError: If there are none.
    """
    found = scan(folder)
    if not found.images:
        what = f"; it holds {count_left_out(found.left_out)}" if found.left_out else ""
        raise ValueError(f"{folder} holds no image{what}")
    if text := describe_left_out(found.left_out, len(found.images)):
        rank_zero_warn(f"{text}, for example {next(left.path for left in found.left_out if left.may_be_missed)}")
    return found.images


def files_in(table: Path, data_dir: Path | None = None, must_exist: bool = True) -> Iterator[tuple[Path, str | None]]:
    """The files that a table lists, with their labels.

    Args:
        table: A CSV or Parquet file with a column ``path``, and perhaps a column ``label``.
        data_dir: Folder that the paths are relative to; that of the table if not given.
        must_exist: Whether a missing file is an error.

    Raises:
        ValueError: If the table cannot be read, or a file is missing; names the line.
    """
    root = table.parent if data_dir is None else data_dir
    for line, row in read_table(table, ("path",), ("label",)):
        file = root / as_path(row["path"])
        if must_exist and not file.is_file():
            raise ValueError(f"{table}, line {line}: there is no file {file}")
        yield file, row.get("label") or None


def _existing(path: Path, name: str) -> Path:
    if path.is_dir():
        raise ValueError(f"{name}: {path} is a folder; give a folder alone, not in a list")
    if not path.is_file():
        raise ValueError(f"{name}: there is no file {path}")
    return path


def _as_pil(item: Any, name: str) -> Image.Image:
    """An array or a tensor as the image that Pillow would have read from a file."""
    if not isinstance(item, (np.ndarray, Tensor)):
        raise ValueError(f"{name} is of type {type(item).__name__}; {TAKEN}")
    shape = tuple(item.shape)
    dtype = str(item.dtype).removeprefix("torch.") if isinstance(item, Tensor) else item.dtype.name
    if isinstance(item, Tensor):
        fits = dtype == "uint8" and len(shape) == 3 and shape[0] in CHANNELS
    else:
        fits = dtype == "uint8" and (len(shape) == 2 or (len(shape) == 3 and shape[2] in CHANNELS))
        fits = fits or (dtype == "uint16" and len(shape) == 2)
    if not fits or 0 in shape:
        raise ValueError(f"{name} is a {dtype} {_type_name(item)} of shape {shape}; {TAKEN}")
    array = item.permute(1, 2, 0).numpy(force=True) if isinstance(item, Tensor) else item
    if array.shape[2:] == (1,):
        array = array[..., 0]
    return Image.fromarray(np.ascontiguousarray(array))


def _type_name(images: Any) -> str:
    if isinstance(images, Tensor):
        return "tensor"
    return "array" if isinstance(images, np.ndarray) else type(images).__name__
