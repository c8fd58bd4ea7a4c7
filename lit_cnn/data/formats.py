"""Which image formats are read, and the endings of their files."""

from __future__ import annotations

from PIL import Image, features

Image.init()  # loads all formats

# Endings of the files, by Pillow's name of the format. Other formats are left out on purpose: some start other programs,
# some have no picture of their own. A name decides only whether a file is listed; the content decides how it is read.
ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),  # MPO of some phones counts as JPEG
    "PNG": (".png", ".apng"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "AVIF": (".avif", ".avifs"),
    "TGA": (".tga",),
}


def _is_built_in(name: str) -> bool:
    """Whether this Pillow can decode a format: AVIF came with Pillow 11.3, and some builds leave libraries out."""
    if name == "AVIF":
        return name in Image.OPEN and bool(features.check_module("avif"))
    return name != "JPEG2000" or bool(features.check_codec("jpg_2000"))


# The formats that this Pillow reads.
FORMATS = tuple(name for name in ENDINGS if _is_built_in(name))
# The endings of the files that are listed, in lower case.
SUFFIXES = tuple(ending for name in FORMATS for ending in ENDINGS[name])
