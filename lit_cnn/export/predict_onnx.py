"""Classifies images with an exported network: python predict_onnx.py --images FOLDER --output FILE.csv

Needs onnxruntime, Pillow and numpy alone. Files become pixels as in training: preprocess.json beside this script has how.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
Image.MAX_IMAGE_PIXELS = None  # it counts a JPEG before it is scaled down


def read_image(path, how):
    """The pixels of a file, uint8 (size, size, channels)."""
    size, mode, background = how["image_size"], "L" if how["channels"] == 1 else "RGB", how["background"]
    with Image.open(path) as file:
        file.draft(mode, _inside(file.size, size) if how["resize"] == "pad" else (size, size))
        if file.width * file.height > how["max_pixels"]:
            raise ValueError(f"{path}: {file.width}x{file.height} pixels are more than {how['max_pixels']}")
        if file.mode in ("I", "F") or ";16" in file.mode + str(file.tile):
            raise ValueError(f"{path} has more than 8 bits a value: lit-cnn predict reads it")
        image = ImageOps.exif_transpose(file)
        if image.has_transparency_data:
            image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
            ground = Image.new("RGB", image.size, background)
            ground.paste(image, mask=image.getchannel("A"))
            image = ground if image.getchannel("A").getextrema()[0] < 255 else image
        image = image.convert(mode)
        if how["resize"] == "crop":
            image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
        elif how["resize"] == "squash":
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        else:
            whole = image.resize(_inside(image.size, size), Image.Resampling.BILINEAR)
            image = Image.new(mode, (size, size), background)
            image.paste(whole, ((size - whole.width) // 2, (size - whole.height) // 2))
    return np.asarray(image).reshape(size, size, how["channels"])


def _inside(sides, size):
    return tuple(max(1, round(side * size / max(sides))) for side in sides)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Classify images with model.onnx.")
    parser.add_argument("--images", type=Path, required=True, help="a folder, or one file")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--model", type=Path, default=HERE / "model.onnx", help="default: %(default)s")
    options = parser.parse_args()
    how = json.loads((HERE / "preprocess.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(options.model), providers=["CPUExecutionProvider"])
    found = sorted(options.images.rglob("*")) if options.images.is_dir() else [options.images]
    files = [file for file in found if file.is_file() and file.suffix.lower() in how["endings"]]
    with options.output.open("w", encoding="utf-8", errors="surrogateescape", newline="") as output:
        rows = csv.writer(output, lineterminator="\n")
        rows.writerow(("file", "class", "probability"))
        for start in range(0, len(files), 64):
            batch = np.stack([read_image(file, how) for file in files[start : start + 64]])
            batch = batch if how["layout"] == "nhwc" else batch.transpose(0, 3, 1, 2)
            batch = batch if how["dtype"] == "uint8" else batch.astype(np.float32) / 255
            for file, values in zip(files[start:], session.run(None, {"images": batch})[0]):  # noqa: B905
                rows.writerow((file, how["class_names"][values.argmax()], f"{values.max():.6f}"))
