"""Draws docs/frame.png: what is stored of a photograph, and what evaluation and training see of it.

    python experiments/results/frame_picture.py --output docs/frame.png

The photograph is scikit-learn's china.jpg, by danielbuechele, CC BY 2.0.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from sklearn.datasets import load_sample_image

from lit_cnn.data.augment.geometry import crop_boxes, resized_crop
from lit_cnn.data.frame import FRAME_OF_CROPS, side_of, start_of_centre
from lit_cnn.data.reading import Reading

IMAGE_SIZE = 224
MIN_AREA = 0.35  # of the presets
NUM_CROPS = 3
GREEN, COLOURS = "#2ca02c", ("#d62728", "#1f77b4", "#ff7f0e")
SEED = 4


def draw() -> Figure:
    """The photograph with all boxes, then what is seen in each."""
    photograph = Image.fromarray(load_sample_image("china.jpg"))
    stored_size = side_of(IMAGE_SIZE, FRAME_OF_CROPS)
    stored, _ = Reading(stored_size, 3).pixels_of(photograph)
    start = start_of_centre(stored_size, IMAGE_SIZE)
    draws = torch.rand(NUM_CROPS, 4, generator=torch.Generator().manual_seed(SEED))
    boxes = crop_boxes(draws, stored_size, stored_size, MIN_AREA)
    crops = resized_crop(stored.expand(NUM_CROPS, -1, -1, -1), boxes, IMAGE_SIZE)

    figure = Figure(figsize=(11, 2.2), layout="constrained")
    whole, frame, centre, *others = figure.subplots(
        1, 3 + NUM_CROPS, width_ratios=[photograph.width / photograph.height, 1, 1, *[1] * NUM_CROPS]
    )
    side = min(photograph.size)
    show(whole, photograph, f"the photograph, {photograph.width}×{photograph.height}", "0.4")
    outline(whole, ((photograph.width - side) / 2, (photograph.height - side) / 2), (side, side), "black")
    show(frame, stored.permute(1, 2, 0), f"stored: the frame, {stored_size}×{stored_size}", "black")
    outline(frame, (start, start), (IMAGE_SIZE, IMAGE_SIZE), GREEN, linestyle="--", linewidth=2.5)
    seen = stored[:, start : start + IMAGE_SIZE, start : start + IMAGE_SIZE].permute(1, 2, 0)
    show(centre, seen, "evaluation, prediction:\nthe centre, 224×224", GREEN)
    for number, (axes, colour) in enumerate(zip(others, COLOURS, strict=True)):
        top, left, height, width = boxes[number].tolist()
        outline(frame, (left, top), (width, height), colour)
        show(axes, crops[number].permute(1, 2, 0), "training: a random crop,\nresized to 224×224", colour)
    return figure


def show(axes: Any, pixels: Any, title: str, colour: str) -> None:
    """An image in a frame of its colour."""
    axes.imshow(pixels)
    axes.set_title(title, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(edgecolor=colour, linewidth=2.5)


def outline(axes: Any, corner: tuple[float, float], size: tuple[float, float], colour: str, **style: Any) -> None:
    """A rectangle, from its upper left corner."""
    axes.add_patch(
        Rectangle((corner[0] - 0.5, corner[1] - 0.5), *size, **{"linewidth": 1.8} | style, fill=False, color=colour)
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, help="PNG file to write")
    draw().savefig(parser.parse_args().output, dpi=100)
