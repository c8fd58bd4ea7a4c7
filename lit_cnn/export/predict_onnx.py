"""Classifies images with an exported network: python predict_onnx.py --images FOLDER --output FILE.csv

Needs onnxruntime, Pillow and numpy alone. Files become pixels as in training: preprocess.json beside this script has how."""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
Image.MAX_IMAGE_PIXELS = None  # it counts a JPEG before it is scaled down


def read_image(path, how):
    """The pixels of a file or a stream, uint8 (size, size, channels). Pillow garbles turned TIFFs that it opens by name."""
    square, mode = (how["image_size"],) * 2, "L" if how["channels"] == 1 else "RGB"
    formats = [name for name in how["formats"] if name != "TGA" or str(path).lower().endswith(".tga")]  # it has no mark
    with path if hasattr(path, "read") else Path(path).open("rb") as stream, Image.open(stream, formats=formats) as file:
        file.draft(mode, _inner_size(file.size, how) if how["resize"] == "pad" else square)
        if file.width * file.height > how["max_pixels"]:
            raise ValueError(f"{file.width}x{file.height} pixels are more than {how['max_pixels']}")
        if file.mode in ("I", "F") or any(mark in f"{file.mode} {file.tile}" for mark in (";16", "('RGB', 65535)")):
            raise ValueError("more than 8 bits a value: lit-cnn predict reads it")
        image = ImageOps.exif_transpose(file)
        if image.has_transparency_data and how.get("version") != 1:  # 1: transparent pixels keep their own colours
            image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
            ground = Image.new("RGB", image.size, how["background"])
            ground.paste(image, mask=image.getchannel("A"))
            image = ground if image.getchannel("A").getextrema()[0] < 255 else image
        whole, size, is_cropped = image.convert(mode), _inner_size(image.size, how), how["resize"] == "crop"
        whole = ImageOps.fit(whole, square, Image.BILINEAR) if is_cropped else whole.resize(size, Image.BILINEAR)
        image = Image.new(mode, square, how["background"])
        image.paste(whole, ((square[0] - whole.width) // 2, (square[1] - whole.height) // 2))
    return np.asarray(image).reshape(*square, how["channels"])


def _inner_size(sides, how):
    size, longer = how["image_size"], max(sides)
    return tuple(max(1, round(side * size / longer)) if how["resize"] == "pad" else size for side in sides)


def classify(session, image, how):
    """Probabilities (classes,) for what read_image returns."""
    image = image if how["layout"] == "nhwc" else image.transpose(2, 0, 1)
    return session.run(None, {"images": (image if how["dtype"] == "uint8" else image.astype(np.float32) / 255)[None]})[0][0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Classify images with model.onnx.")
    parser.add_argument("--images", type=Path, required=True, help="a folder, or one file")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--model", type=Path, default=HERE / "model.onnx", help="default: %(default)s")
    options, num_unread = parser.parse_args(), 0
    how = json.loads((HERE / "preprocess.json").read_text(encoding="utf-8"))
    found, known = [options.images], dict.fromkeys(options.images.resolve().parents)
    for path in found:  # to which each folder, also a linked one, adds once what it holds
        if path.is_dir() and known.setdefault(path.resolve(), path) is path:
            inner = (one for one in path.iterdir() if one.name[0] != "." and one.name.lower() not in how["system_names"])
            found += sorted(inner, key=lambda one: (one.is_symlink(), one))
    files = sorted(file for file in found if file.suffix.lower() in how["endings"] and file.is_file())
    if not files:
        parser.error(f"--images: there is no {'image in' if options.images.exists() else 'file or folder'} {options.images}")
    session = onnxruntime.InferenceSession(str(options.model), providers=["CPUExecutionProvider"])
    try:
        output = options.output.open("w", encoding="utf-8", errors="surrogateescape", newline="")
    except OSError as error:
        parser.error(f"--output: {options.output} cannot be written: {error.strerror}")
    with output:
        rows = csv.writer(output, lineterminator="\n")
        rows.writerow(("file", "class", "probability"))
        for file in files:
            try:
                image = read_image(file, how)
            except Exception as error:  # Pillow's decoders raise errors of many classes
                print(f"{file} cannot be read: {' '.join(str(error).split())}", file=sys.stderr)
                num_unread += 1
                continue
            values = classify(session, image, how)
            rows.writerow((file, how["class_names"][values.argmax()], f"{values.max():.6f}"))
    sys.exit(1 if num_unread else 0)
