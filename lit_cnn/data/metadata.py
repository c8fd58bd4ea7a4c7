"""Metadata of image files. They never decide whether the pixels are read."""

from __future__ import annotations

import re
import zlib

from PIL import Image

_ORIENTATION = 0x0112
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# Chunks of a PNG and segments of a JPEG that decide about pixels; and EXIF, which may hold the orientation.
_PNG_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf"}
_JPEG_SEGMENTS = {*range(0xC0, 0xE1), 0xEE}  # frames and tables; APP0 of JFIF; APP14 of Adobe: which colours these are
_APP1, _START_OF_SCAN = 0xE1, 0xDA
# Bytes of APP0 and APP14: shorter ones say nothing that can be read.
_MIN_LENGTHS = {0xE0: 14, 0xEE: 12}
# The entry of an AVIF's table of contents that names its EXIF; the orientation stands elsewhere.
_AVIF_EXIF = re.compile(rb"(infe[\2\3].{7})Exif", re.DOTALL)


def upright(image: Image.Image) -> Image.Image:
    """Turns an image as its EXIF orientation says; an orientation that cannot be read is none."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # broken EXIF raises errors of many classes
        return image
    method = _TURNED.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def without_metadata(content: bytes) -> bytes | None:
    """The content of a PNG, JPEG or AVIF file without its metadata, for example texts and colour profiles.

    Pillow refuses a file whose metadata are large or damaged.

    Returns:
        None if the file has no metadata, or another format.
    """
    stripped = None
    if content.startswith(_PNG):
        stripped = _strip_png(content)
    elif content.startswith(_JPEG):
        stripped = _strip_jpeg(content)
    elif content[4:8] == b"ftyp":
        stripped = _AVIF_EXIF.sub(rb"\1none", content)
    return None if stripped == content else stripped


def _strip_png(content: bytes) -> bytes:
    kept, start = [_PNG], len(_PNG)
    while start + 8 <= len(content):
        chunk_type = content[start + 4 : start + 8]
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        chunk = content[start:end]
        if chunk_type == b"eXIf":  # its checksum may be wrong
            chunk = chunk[:-4] + zlib.crc32(chunk[4:-4]).to_bytes(4, "big")
        if chunk_type in _PNG_CHUNKS:
            kept.append(chunk)
        start = end
    return b"".join(kept)


def _strip_jpeg(content: bytes) -> bytes:
    kept, start = [content[:2]], 2
    while start + 4 <= len(content) and content[start] == 0xFF:
        marker = content[start + 1]
        end = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        if marker == _START_OF_SCAN:
            break
        is_exif = marker == _APP1 and content[start + 4 : start + 10] == b"Exif\0\0"
        is_whole = end - start - 4 >= _MIN_LENGTHS.get(marker, 0)
        if (marker in _JPEG_SEGMENTS and is_whole) or is_exif:
            kept.append(content[start:end])
        start = end
    return b"".join([*kept, content[start:]])
