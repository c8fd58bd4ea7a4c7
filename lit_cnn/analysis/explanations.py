"""Pictures of explanations: the image, the heat map, and the map over the image. And the page with all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from lit_cnn.analysis import page
from lit_cnn.inference.explain import Explanation, Features, LayerField
from lit_cnn.system.text import composed

# Perceptually uniform, and readable for colour-blind people and in grey.
COLOURS = "viridis"
OPACITY = 0.8  # over an image, of the place that speaks most for the class
LINE = (253, 231, 37)  # viridis's brightest
# Small images are enlarged to at least so many pixels, by whole numbers.
SHOWN_SIZE = 224
GAP = 8  # pixels between pictures
NUM_CHANNELS = 16  # feature maps that are shown
TITLES = {
    "cam": "CAM",
    "gradcam": "Grad-CAM",
    "layercam": "LayerCAM",
    "occlusion": "occlusion",
    "ig": "integrated gradients",
    "features": "feature maps",
    "receptive_field": "receptive field",
}


@dataclass(frozen=True, eq=False)
class Found:
    """What a method found in an image.

    Args:
        method: Its name.
        layer: The layer of which it is; empty if it is of none.
        target: The class for which it is; empty if it is for none.
        panels: The map and the map over the image, or one picture: each uint8 (H, W, 3).
        is_empty: Whether nothing speaks for the class.
    """

    method: str
    layer: str
    target: str
    panels: tuple[np.ndarray, ...]
    is_empty: bool = False

    @property
    def title(self) -> str:
        return TITLES[self.method]

    @property
    def sources(self) -> list[str]:
        """Addresses that hold the panels."""
        return [page.picture(panel, 2 * SHOWN_SIZE) for panel in self.panels]


@dataclass(frozen=True, eq=False)
class Explained:
    """An image with what methods found in it.

    Args:
        name: Of its file.
        classes: The likeliest classes with their probabilities.
        image: uint8 (H, W, 3), enlarged.
        found: What the methods found.
        label: The class that the image should have; None if it is not known.
    """

    name: str
    classes: list[tuple[str, float]]
    image: np.ndarray
    found: list[Found]
    label: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether the likeliest class is that of the label."""
        return self.label is not None and composed(self.classes[0][0]) == composed(self.label)

    @property
    def source(self) -> str:
        return page.picture(self.image, 2 * SHOWN_SIZE)


def enlarged(pixels: np.ndarray) -> np.ndarray:
    """An image in colour, uint8 (H, W, 3); a small one with each pixel as a square of several.

    Args:
        pixels: uint8 (H, W), (H, W, 1) or (H, W, 3).
    """
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    scale = -(-SHOWN_SIZE // max(pixels.shape[:2]))
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def heated(pixels: np.ndarray, heat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A heat map, and an image below it; each enlarged, uint8 (H, W, 3).

    Args:
        pixels: The image, uint8 (H, W), (H, W, 1) or (H, W, 3).
        heat: (H, W) from 0 to 1.
    """
    image = enlarged(pixels)
    scale = image.shape[0] // pixels.shape[0]
    heat = heat.repeat(scale, axis=0).repeat(scale, axis=1)
    colours = 255 * matplotlib.colormaps[COLOURS](heat)[..., :3]
    share = OPACITY * heat[..., None]
    over = (1 - share) * image + share * colours
    return colours.round().astype(np.uint8), over.round().astype(np.uint8)


def of_explanation(explanation: Explanation, index: int, pixels: np.ndarray, class_names: Sequence[str]) -> Found:
    """What an explanation found in one of its images."""
    heat = explanation.heat[index]
    target = class_names[int(explanation.targets[index])]
    return Found(explanation.method, explanation.layer, target, heated(pixels, heat), not heat.any())


def of_features(features: Features, index: int) -> Found:
    """The feature maps with the highest values in one of the images, side by side, all on the same scale."""
    channels = features.strongest(index, NUM_CHANNELS)
    maps = features.values[index][channels].clip(min=0)
    maps = maps / max(float(maps.max()), np.finfo(np.float32).tiny)
    num_columns = int(np.ceil(np.sqrt(len(maps))))
    height, width = maps.shape[1:]
    scale = max(1, -(-SHOWN_SIZE // (num_columns * max(height, width))))
    rows = -(-len(maps) // num_columns)
    sheet = np.full((rows * (scale * height + 2) - 2, num_columns * (scale * width + 2) - 2, 3), 128, dtype=np.uint8)
    for number, one in enumerate(maps):
        top, left = number // num_columns * (scale * height + 2), number % num_columns * (scale * width + 2)
        colours = (255 * matplotlib.colormaps[COLOURS](one)[..., :3]).round().astype(np.uint8)
        sheet[top : top + scale * height, left : left + scale * width] = colours.repeat(scale, 0).repeat(scale, 1)
    return Found("features", f"{features.layer}, channels {', '.join(map(str, channels))}", "", (sheet,))


def of_field(found: LayerField, pixels: np.ndarray, seen: tuple[int, int]) -> Found:
    """An image with what the middle cell of a layer sees.

    Args:
        found: The receptive field.
        pixels: The image, uint8 (H, W), (H, W, 1) or (H, W, 3).
        seen: First pixel of the image that the network sees, and how many, on each side.
    """
    image = enlarged(pixels)
    start, size = (image.shape[0] / pixels.shape[0] * one for one in seen)
    scale = size / found.image_size
    top, left, bottom, right = found.field.box(found.cells[0] // 2, found.cells[1] // 2)
    clipped = [min(max(one, 0), found.image_size) for one in (left, top, right, bottom)]
    drawn = Image.fromarray(image)
    box = [start + scale * one for one in clipped]
    ImageDraw.Draw(drawn).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=LINE, width=3)
    return Found("receptive_field", f"{found.layer}: {describe_field(found)}", "", (np.asarray(drawn),))


def describe_field(found: LayerField) -> str:
    """The receptive field of a layer in words."""
    (height, width), (down, right) = found.field.size, found.field.stride
    rows, columns = found.cells
    return f"{rows}×{columns} cells, each sees {height}×{width} pixels, {down}×{right} pixels from the next"


def side_by_side(image: np.ndarray, panels: Sequence[np.ndarray]) -> np.ndarray:
    """An image beside its pictures, on white, uint8 (H, W, 3)."""
    parts = [image, *panels]
    height = max(part.shape[0] for part in parts)
    sheet = np.full((height, sum(part.shape[1] + GAP for part in parts) - GAP, 3), 255, dtype=np.uint8)
    left = 0
    for part in parts:
        sheet[: part.shape[0], left : left + part.shape[1]] = part
        left += part.shape[1] + GAP
    return sheet


def write_sheet(
    title: str,
    subtitle: str,
    images: Sequence[Explained],
    num_left_out: int = 0,
    generator: str = "lit-cnn",
    pictures: Sequence[str] = (),
) -> str:
    """The page with all images.

    Args:
        title: Of the page.
        subtitle: What was explained.
        images: The images, in order.
        num_left_out: Images that are not shown.
        generator: The program that writes the page, which its head names.
        pictures: Names of the files that belong to the page, which its head names.
    """
    return page.render(
        "explain.html",
        title=title,
        subtitle=subtitle,
        images=images,
        num_left_out=num_left_out,
        size=SHOWN_SIZE,
        generator=generator,
        pictures=pictures,
    )
