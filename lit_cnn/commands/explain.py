"""``lit-cnn explain``: shows which places of images a network's answers depend on."""

from __future__ import annotations

import argparse
import glob
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lit_cnn.commands.explained_folder import GENERATOR, PAGE, check_folder, new_content, picture_name
from lit_cnn.commands.image_options import add_bad_image_option, add_network_options, given_checkpoint
from lit_cnn.commands.image_progress import BadImages, each_batch
from lit_cnn.commands.messages import quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.output import write_page
from lit_cnn.commands.resuming import warn
from lit_cnn.network.catalogue import find_in_catalogue
from lit_cnn.network.names import nearest
from lit_cnn.runs.search import find_run
from lit_cnn.system.extras import require_extra
from lit_cnn.system.memory import keep_freed_memory
from lit_cnn.system.paths import expand
from lit_cnn.system.processors import usable_processors

if TYPE_CHECKING:
    from torch import Tensor

    from lit_cnn.analysis.explanations import Explained, Found
    from lit_cnn.inference.batches import BadImage, ReadBatch
    from lit_cnn.inference.explain import Method
    from lit_cnn.inference.inputs import GivenFiles
    from lit_cnn.inference.sources import ListedFile
    from lit_cnn.inference.trained import Trained

HEAT_MAPS = ("cam", "gradcam", "layercam", "occlusion", "ig")
METHODS = (*HEAT_MAPS, "features", "receptive_field")
WITH_LAYER = ("gradcam", "layercam", "features", "receptive_field")
NEEDS_CAPTUM = ("occlusion", "ig")
NUM_CLASSES = 3  # likeliest classes that are shown
LONGEST_HEADING = 60
LISTED_CLASSES = 10


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = OneLineParser(
        prog="lit-cnn explain",
        description="Show which places of images a network's answers depend on: pictures, and a page with all of them.",
    )
    add_network_options(parser, ("run", "ckpt_path", "model"))
    parser.add_argument(
        "--images",
        required=True,
        nargs="+",
        action="extend",
        help="folders, image files, tables with a column path, and patterns in quotes ('photos/*.jpg')",
    )
    parser.add_argument(
        "--method",
        nargs="+",
        action="extend",
        choices=METHODS,
        metavar="METHOD",
        help=f"one or several of {', '.join(METHODS)} (default: cam where it exists, else layercam)",
    )
    parser.add_argument(
        "--target",
        help="explain the answer for this class, not for the likeliest one: its name, or its number from 0 unless a class "
        "has that name",
    )
    parser.add_argument("--layer", help=f"layer for {', '.join(WITH_LAYER)} (default: the last with at least 4×4 cells)")
    parser.add_argument("--output", default="explanations", help="folder to write into (default: %(default)s)")
    parser.add_argument(
        "--num_images",
        type=int,
        default=24,
        help="so many of the images, the first; 0 for all: the page holds each, about 0.5 MB of memory for an image and "
        "method (default: %(default)s)",
    )
    parser.add_argument("--batch_size", type=int, default=16, help="images at a time (default: %(default)s)")
    add_bad_image_option(parser)
    return parser


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn explain`` and returns the exit status: 1 if no image could be explained."""
    options = make_parser().parse_args(arguments[1:])
    quiet()
    keep_freed_memory()
    for name in ("run", "ckpt_path", "model", "runs_dir", "output", "target", "layer"):
        if getattr(options, name) == "":
            raise ValueError(f"--{name} is empty: give a value, or leave it out")
    methods = tuple(dict.fromkeys(options.method or ()))
    if options.layer and (without := [method for method in methods if method not in WITH_LAYER]):
        raise ValueError(f"--layer does not go with --method {without[0]}; it is for {', '.join(WITH_LAYER)}")
    if options.target and methods and not set(methods) & set(HEAT_MAPS):
        raise ValueError(f"--target does not go with --method {methods[0]}, which is the same for all classes")
    if options.weights and not options.model:
        raise ValueError("--weights belong to a --model; a run and a checkpoint have their own")
    if options.batch_size < 1:
        raise ValueError(f"--batch_size must be at least 1, got {options.batch_size}")
    if options.num_images < 0:
        raise ValueError(f"--num_images must be at least 0, got {options.num_images}")
    for method in methods:
        if method in NEEDS_CAPTUM:
            require_extra("explain", f"lit-cnn explain --method {method}")
    paths = [expand(path) for path in options.images]
    for path in paths:
        if not path.exists() and not glob.has_magic(str(path)):
            raise ValueError(f"there is no file or folder {path}")
    output = expand(options.output)
    check_folder(output, paths)
    variant = find_in_catalogue(options.model)[0] if options.model else None
    checkpoint = find_run(options.run, expand(options.runs_dir)).path if options.run else given_checkpoint(options.ckpt_path)

    # Imported only now: torch takes seconds, but --help and typos are answered at once.
    from lit_cnn.analysis.explanations import write_sheet
    from lit_cnn.inference.inputs import GivenFiles
    from lit_cnn.inference.loading import load_pretrained, load_run
    from lit_cnn.inference.sources import find_files

    trained = load_pretrained(variant, options.weights or "DEFAULT") if variant else load_run(checkpoint)
    target = None if options.target is None else _class_number(options.target, trained.class_names)
    skips = options.on_bad_image == "skip"
    source = find_files(paths, trained.class_names, must_exist=not skips)
    assert source.count is not None  # nothing is piped in
    num_taken = min(source.count, options.num_images or source.count)
    given = GivenFiles(list(itertools.islice(source, num_taken)), trained.reading, skips)
    bad = BadImages()
    batches = _explained_batches(trained, given, methods, target, options.layer, options.batch_size)
    explained: list[Explained] = []
    pictures: list[str] = []
    num_left_out = source.count - num_taken
    title = f"What {options.model or Path(str(checkpoint)).name} sees"
    with new_content(output) as folder:
        for batch in each_batch(batches, "explaining", num_taken, bad):
            for listed, one in batch:
                pictures += _write_pictures(one, len(explained), listed.path, folder)
                explained.append(one)
        bad.end(len(explained))
        write_page(folder / PAGE, write_sheet(title, _describe(trained), explained, num_left_out, GENERATOR, pictures))
    if num_left_out:
        warn(f"explained {len(explained):,} of {source.count:,} images: --num_images takes more")
    print(output / PAGE)
    return 0


def _describe(trained: Trained) -> str:
    """The network, its images and its classes in a line."""
    names = trained.class_names
    classes = f"{', '.join(names[:LISTED_CLASSES])}{', …' if len(names) > LISTED_CLASSES else ''}"
    origin = f"trained on {trained.dataset}" if trained.dataset else f"weights of {trained.source}"
    return f"{trained.variant} · {origin} · {len(names):,} classes: {classes}"


def _class_number(name: str, class_names: Sequence[str]) -> int:
    """The number of a class by its name, or by its number if no class has that name."""
    if name in class_names:
        return class_names.index(name)
    if name.isascii() and name.isdigit() and int(name) < len(class_names):
        return int(name)
    hint = nearest(name, class_names)
    hint = f"{len(class_names):,} classes are known" if "lit-cnn models" in hint else hint
    raise ValueError(f"--target {name} is no class of the network; {hint}")


def _explained_batches(
    trained: Trained,
    given: GivenFiles,
    methods: tuple[Method | str, ...],
    target: int | None,
    layer: str | None,
    batch_size: int,
) -> Iterator[list[tuple[ListedFile, Explained | BadImage]]]:
    """Explains the images one batch after another."""
    from lit_cnn.inference.batches import compute_batches

    def compute(batch: ReadBatch[ListedFile]) -> Iterator[Explained]:
        assert batch.pixels is not None
        files = [listed for place, listed in enumerate(batch.items) if place not in batch.bad]
        return _explain(trained, batch.pixels, files, methods, target, layer)

    return compute_batches(given, batch_size, compute, num_workers=min(4, usable_processors()))


def _explain(
    trained: Trained,
    images: Tensor,
    files: Sequence[ListedFile],
    methods: tuple[Method | str, ...],
    target: int | None,
    layer: str | None,
) -> Iterator[Explained]:
    """Explains images, uint8 (N, channels, size, size)."""
    import torch

    from lit_cnn.analysis.explanations import Explained, enlarged
    from lit_cnn.network.base import evaluating

    with torch.no_grad(), evaluating(trained.network):
        probabilities = trained.network(trained.preprocess(images)).float().softmax(dim=1).cpu()
    of_methods = _of_methods(trained, images, methods, target, layer)
    for index, file in enumerate(files):
        values, classes = probabilities[index].topk(min(NUM_CLASSES, len(trained.class_names)))
        likeliest = [trained.class_names[number] for number in classes.tolist()]
        found = [of_images[index] for of_images in of_methods]
        image = enlarged(images[index].permute(1, 2, 0).numpy())
        classes_of_image = list(zip(likeliest, values.tolist(), strict=True))
        yield Explained(_heading(file), classes_of_image, image, found, file.label)


def _heading(file: ListedFile) -> str:
    """The path as ``lit-cnn predict`` writes it; if it is long, that below the folder that was given."""
    path = str(file.path)
    return path if len(path) <= LONGEST_HEADING else file.below or file.path.name


def _write_pictures(explained: Explained, position: int, file: Path, folder: Path) -> list[str]:
    """Writes a picture for each method, and gives their names."""
    from PIL import Image

    from lit_cnn.analysis.explanations import side_by_side

    names = [picture_name(position, file, one.method) for one in explained.found]
    for one, name in zip(explained.found, names, strict=True):
        Image.fromarray(side_by_side(explained.image, one.panels)).save(folder / name, optimize=True)
    return names


def _of_methods(
    trained: Trained, images: Tensor, methods: tuple[Method | str, ...], target: int | None, layer: str | None
) -> list[list[Found]]:
    """What each method finds in each image."""
    import torch

    from lit_cnn.analysis.explanations import of_explanation, of_features, of_field
    from lit_cnn.inference.explain import explain, features, field_of

    pixels = [image.permute(1, 2, 0).numpy() for image in images]
    numbers = range(len(pixels))
    targets = None if target is None else torch.full((len(pixels),), target)
    found: list[list[Found]] = []
    for method in methods or (None,):
        if method == "features":
            maps = features(trained, images, layer)
            found.append([of_features(maps, index) for index in numbers])
        elif method == "receptive_field":
            preprocessing = trained.preprocessing
            whole = preprocessing.resize_size or preprocessing.image_size
            start = round((whole - preprocessing.image_size) / 2)
            scale = trained.native_size / whole
            seen = (start * scale, preprocessing.image_size * scale)
            field = field_of(trained, layer)
            found.append([of_field(field, one, seen) for one in pixels])
        else:
            explanation = explain(trained, images, method, targets, layer)
            found.append([of_explanation(explanation, index, pixels[index], trained.class_names) for index in numbers])
    return found
