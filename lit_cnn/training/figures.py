"""Pictures of an evaluation and of a network, as uint8 arrays (H, W, 3)."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_cnn.data.frame import start_of_centre
from lit_cnn.runs.diagnostics import Sign
from lit_cnn.system.text import shorten_all, width
from lit_cnn.training.lettering import lettering

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lit_cnn.data.loader import Batch
    from lit_cnn.data.module import ImageDataModule

# Up to so many classes, a confusion matrix shows its counts, or the names of the classes.
MAX_COUNTED = 20
MAX_NAMED = 100

NAME_WIDTH = 22  # columns of a class's name
TITLE_WIDTH = 30  # columns above a picture 2.1 inches wide
DIGIT_WIDTH = 0.64  # of the font's size
SMALLEST = 4  # size of letters, in points; smaller ones cannot be read

MAX_IN_LEGEND = 12  # layers, spread from the first to the last
# What of the measures of layers is drawn: its title, and whether its values span powers of ten.
SIGNS = {
    "mean": ("mean activation", False),
    "sd": ("sd of activations", False),
    "dead": ("share of dead ReLUs", False),
    "gradient_rms": ("RMS of gradients", True),
    "update_ratio": ("RMS update / RMS weight", True),
}


def draw_confusion(confusion: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A confusion matrix: rows are true classes, columns predicted ones, colours the share of the true class.

    Args:
        confusion: Number of images, (num_classes, num_classes).
        names: Name of each class.
    """
    from matplotlib.figure import Figure

    num_classes = len(names)
    has_names, has_counts = num_classes <= MAX_NAMED, num_classes <= MAX_COUNTED
    with lettering(names if has_names else []) as show:
        fits = has_counts and num_classes * len(str(confusion.max(initial=0))) <= 40
        inches = 6.4 if fits else 10 if num_classes <= 50 or not has_names else 16
        figure = Figure(figsize=(inches, inches * 0.94), layout="constrained")
        axes = figure.subplots()
        fractions = confusion / confusion.sum(axis=1, keepdims=True).clip(min=1)
        axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
        shown = shorten_all([show(name) for name in names], NAME_WIDTH) if has_names else []
        size = min(10, 40 * inches / num_classes)
        axes.set_xticks(range(len(shown)), shown, rotation=90, fontsize=size)
        axes.set_yticks(range(len(shown)), shown, fontsize=size)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        if has_counts:
            _write_counts(axes, confusion, fractions)
        return _pixels_of(figure)


def _write_counts(axes: Any, confusion: np.ndarray, fractions: np.ndarray) -> None:
    """Writes a count into each cell that has one, in letters that fit; nothing where these could not be read."""
    axes.figure.draw_without_rendering()  # gives the cells their size
    cell = axes.get_window_extent().width / len(confusion) * 72 / axes.figure.dpi  # in points
    size = min(8, 0.78 * cell / (DIGIT_WIDTH * len(str(confusion.max(initial=0)))))
    if size < SMALLEST:
        return
    for row, column in np.argwhere(confusion):
        colour = "white" if fractions[row, column] > 0.5 else "black"
        axes.text(column, row, str(confusion[row, column]), ha="center", va="center", fontsize=size, color=colour)


def draw_worst(worst: Tensor, images: Any, names: Sequence[str]) -> np.ndarray:
    """Images with the highest loss, each with its predicted class, its own class and its file.

    Args:
        worst: Rows of loss, label, prediction, probability of the prediction, position, (N, 5).
        images: The images of the split.
        names: Name of each class.
    """
    from matplotlib.figure import Figure

    columns, cell = min(8, len(worst)), 2.6
    rows = math.ceil(len(worst) / columns)
    files = [Path(images.name(int(row[4]))).name for row in worst.tolist()]
    with lettering([*names, *files]) as show:
        files = shorten_all([show(file) for file in files], TITLE_WIDTH)
        classes = shorten_all([show(name) for name in names], NAME_WIDTH)
        # Fixed positions: an automatic layout takes longer than all other drawing.
        figure = Figure(figsize=(2.1 * columns, cell * rows))
        figure.subplots_adjust(
            left=0.01, right=0.99, bottom=0.1 / (cell * rows), top=1 - 0.6 / (cell * rows), wspace=0.05, hspace=0.4
        )
        for axes in figure.subplots(rows, columns, squeeze=False).flat:
            axes.axis("off")
        for axes, file, row in zip(figure.axes, files, worst.tolist(), strict=False):
            _, label, predicted, confidence, position = row
            pixels = images.fetch(torch.tensor([int(position)]))[0].permute(1, 2, 0).cpu()
            axes.imshow(pixels.squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
            description = _describe(classes[int(label)], classes[int(predicted)], confidence)
            axes.set_title(f"{file}\n{description}", fontsize=8, color="black" if label == predicted else "firebrick")
        return _pixels_of(figure)


def _describe(label: str, predicted: str, confidence: float) -> str:
    """``called 8, is 4, 94 %``, in two lines if the names are long."""
    called, true = _isolate(predicted), _isolate(label)
    whole = f"called {called}, is {true}, {100 * confidence:.0f} %"
    return whole if width(whole) <= TITLE_WIDTH else f"called {called},\nis {true}, {100 * confidence:.0f} %"


def _isolate(name: str) -> str:
    """A name after which the text continues from left to right, whatever its script is."""
    is_reversed = any(unicodedata.bidirectional(character) in ("R", "AL") for character in name)
    return f"{name}\N{LEFT-TO-RIGHT MARK}" if is_reversed else name


def draw_seen(data: ImageDataModule, stored: Tensor, batch: Batch, number: int) -> np.ndarray:
    """The first images of a training batch as they are stored and as the network sees them, see :func:`draw_batch`.

    Args:
        data: They are of this dataset.
        stored: uint8 images (N, C, H, W).
        batch: The same after augmentation and preprocessing.
        number: So many are drawn.
    """
    titles = name_targets(batch.labels[:number], None if batch.targets is None else batch.targets[:number], data.class_names)
    centre = data.image_size if data.frame > 1 else None
    return draw_batch(stored[:number], data.preprocessing.to_display(batch.images[:number]).float(), titles, centre)


def draw_batch(stored: Tensor, seen: Tensor, titles: Sequence[str], centre: int | None = None) -> np.ndarray:
    """Training images as they are stored, and below each what the network sees of it.

    Args:
        stored: uint8 images (N, C, H, W).
        seen: The same after augmentation and preprocessing, on a scale of 0 to 1, (N, C, h, w).
        titles: The label of each, see :func:`name_targets`.
        centre: Height and width of the centre that evaluation sees, which gets a dashed line; None if that is all.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    columns = min(8, len(titles))
    bands = math.ceil(len(titles) / columns)
    dashed = "" if centre is None else "\n\ndashed:\nseen in\nevaluation"
    heads = (
        f"stored\n{stored.shape[-2]}×{stored.shape[-1]}{dashed}",
        f"seen by the\nnetwork\n{seen.shape[-2]}×{seen.shape[-1]}",
    )
    with lettering(titles) as show:
        titles = [_in_lines(shorten_all([show(title)], 2 * NAME_WIDTH)[0]) for title in titles]
        # In inches: the images, the letters at their left and above them. One axes for all draws fast.
        cell, side, left, top = 1.6, 1.52, 0.95, 0.45
        width, height = left + cell * columns, bands * (2 * cell + top)
        figure = Figure(figsize=(width, height), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        for number, title in enumerate(titles):
            band, column = divmod(number, columns)
            x, y = left + column * cell, height - band * (2 * cell + top) - top
            axes.text(x + side / 2, y + 0.05, title, fontsize=8, ha="center", va="bottom")
            for row, images in enumerate((stored, seen)):
                bottom = y - (row + 1) * cell + cell - side
                pixels = images[number].cpu().permute(1, 2, 0).squeeze(-1).numpy()
                place = (x, x + side, bottom, bottom + side)
                axes.imshow(pixels, cmap="gray", vmin=0, vmax=1 if images is seen else 255, extent=place, aspect="auto")
                if column == 0:
                    axes.text(left - 0.1, bottom + side / 2, heads[row], fontsize=9, ha="right", va="center")
            if centre is not None:
                part, start = (
                    side * pixel / stored.shape[-1] for pixel in (centre, start_of_centre(len(stored[0, 0]), centre))
                )
                for colour, dashes in (("black", "-"), ("white", (0, (4, 3)))):  # seen on any ground
                    line = {"fill": False, "edgecolor": colour, "linestyle": dashes, "linewidth": 1.2}
                    axes.add_patch(Rectangle((x + start, y - start - part), part, part, **line))
        axes.set_xlim(0, width)
        axes.set_ylim(0, height)
        return _pixels_of(figure)


def _in_lines(title: str) -> str:
    """A title that is too wide for a picture, in two lines."""
    return title if width(title) <= NAME_WIDTH else title.replace(" + ", "\n+ ", 1)


def name_targets(labels: Tensor, targets: Tensor | None, names: Sequence[str]) -> list[str]:
    """The class of each image, or the shares of the classes in an image that was mixed: ``0.7 cat + 0.3 dog``.

    Args:
        labels: Class of each, (N,).
        targets: Shares of the classes, (N, num_classes), if images were mixed.
        names: Name of each class.
    """
    if targets is None:
        return [names[label] for label in labels.tolist()]
    titles = []
    for shares in targets.float().cpu():
        largest = shares.topk(min(2, len(names)))
        rounded = [(round(share, 2), number) for share, number in zip(*map(Tensor.tolist, largest), strict=True)]
        shown = [f"{share:g} {names[number]}" for share, number in rounded if share]
        titles.append(" + ".join(shown) if len(shown) > 1 else names[rounded[0][1]])
    return titles


def draw_filters(network: nn.Module) -> np.ndarray | None:
    """The kernels of the first convolution, in colour if it has three channels; None if there is none."""
    from torchvision.utils import make_grid

    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        return None
    kernels = first.weight.detach().float().cpu()  # (out, in, h, w)
    if kernels.shape[1] != 3:
        kernels = kernels.mean(dim=1, keepdim=True)
    kernels = F.interpolate(kernels, scale_factor=max(1, 32 // kernels.shape[-1]), mode="nearest")
    grid = make_grid(kernels, nrow=math.ceil(math.sqrt(len(kernels))), normalize=True, scale_each=True, padding=2)
    return (grid * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def draw_diagnostics(signs: Sequence[Sign]) -> np.ndarray:
    """The measures of layers over the steps: one chart for each measure, one line for each layer, dark to light by depth.

    Args:
        signs: What was measured, by step and, within a step, in the order in which the layers run.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    by_layer: dict[str, list[Sign]] = {}
    for sign in signs:
        by_layer.setdefault(sign.layer, []).append(sign)
    layers = list(by_layer)
    colours = colormaps["viridis"](np.linspace(0, 0.92, len(layers)))  # not to its end, which is too light for lines
    with lettering(layers) as show:
        figure = Figure(figsize=(12, 6.4), layout="constrained")
        *charts, legend = figure.subplots(2, 3).flat
        for axes, (measure, (title, is_logarithmic)) in zip(charts, SIGNS.items(), strict=True):
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("step")
            if is_logarithmic:
                axes.set_yscale("log", nonpositive="mask")
                axes.yaxis.set_major_formatter("{x:g}")  # powers would be mathematics, which names turn off
            for layer, colour in zip(layers, colours, strict=True):
                values = [(sign.step, getattr(sign, measure)) for sign in by_layer[layer]]
                points = [(step, value) for step, value in values if value is not None]
                if points:
                    axes.plot(*zip(*points, strict=True), color=colour, marker=".", linewidth=1)
        charts[list(SIGNS).index("dead")].set_ylim(-0.02, 1.02)
        legend.axis("off")
        for number in np.unique(np.linspace(0, len(layers) - 1, min(MAX_IN_LEGEND, len(layers))).round().astype(int)):
            legend.plot([], [], color=colours[number], label=shorten_all([show(layers[number])], NAME_WIDTH)[0])
        legend.legend(loc="center", fontsize=8, frameon=False, title=f"{len(layers)} layers, from the input on")
        return _pixels_of(figure)


def _pixels_of(figure: Figure) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
