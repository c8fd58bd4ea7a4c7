"""The checks of ``lit-cnn doctor``: data, network and machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_cnn import data as datasets
from lit_cnn import models
from lit_cnn.commands.messages import OUT_OF_MEMORY, out_of_memory
from lit_cnn.commands.overfit import check_overfit
from lit_cnn.data import ImageDataModule
from lit_cnn.data.finding import Finding, Level
from lit_cnn.data.image_files import ImageFiles
from lit_cnn.data.inspect import NUM_NAMED, check_files, scan_files
from lit_cnn.data.manifest import first
from lit_cnn.data.names import DatasetName
from lit_cnn.data.opening import is_grey
from lit_cnn.data.scan import LeftOut, Reason, count_left_out
from lit_cnn.errors import DataWarning
from lit_cnn.models import find_variant
from lit_cnn.network.counting import count_multiply_adds
from lit_cnn.network.sizes import describe_sizes, takes
from lit_cnn.runs.checkpoint_file import num_bytes
from lit_cnn.system.memory import format_bytes, free_memory, peak_memory
from lit_cnn.system.paths import expand
from lit_cnn.system.processors import NUM_THREADS, OTHER_PROGRAMS, describe_load, share_of_threads, usable_processors
from lit_cnn.training.callbacks.checkpointing import check_room, checkpoint_bytes, needed_bytes
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.precision import choose_precision

# A class with fewer training images is hard to learn.
FEW_IMAGES = 20
# If the largest class has so many times the images of the smallest, accuracy says little.
UNBALANCED = 3
MEASURED_STEPS = 3


def examine(
    dataset: DatasetName,
    model: str,
    image_size: int | None = None,
    batch_size: int = 32,
    runs_dir: str = "runs",
    of_files: Mapping[str, Any] | None = None,
    overfit_lr: float | None = None,
) -> Iterator[Finding]:
    """Checks a dataset, a network and this machine.

    Args:
        dataset: The dataset's class, and the folder of its files if it is not the class's own.
        model: A variant, or an architecture for its default variant, see :func:`lit_cnn.models.find_variant`.
        image_size: Height and width that the network sees, in pixels; the variant's own if not given.
        batch_size: Images in a training step.
        runs_dir: Where runs will be saved.
        of_files: Further arguments of a dataset of files, for example ``group_by`` and ``resize``.
        overfit_lr: Learning rate at which the network is trained on a few images; None to leave this out.

    Yields:
        One finding for each check, passed or failed. After an error in data or network, the other checks are left out.

    Raises:
        ValueError: If there is no such model.
    """
    variant = find_variant(model)
    size = models.describe(variant).image_size if image_size is None else image_size
    memory_before = free_memory()
    try:
        data = _data_module(dataset, image_size=size, batch_size=batch_size, **(of_files or {}))
        if isinstance(data, ImageFiles):
            with _reported():
                files = list(scan_files(data))
            yield _check_left_out(data.data_dir, data.left_out)
            yield from check_files(files, data.class_names, data.reading)
            if any(file.problem for file in files):
                return
        with _reported():
            data.prepare_data()
            data.setup("fit")
        channels, num_classes = data.channels, data.num_classes
    except (ValueError, OSError) as error:
        yield Finding("error", "data", str(error))
        return
    yield from _check_splits(data)
    if isinstance(data, ImageFiles):
        yield from (Finding("warning", "groups", leak) for leak in data.manifest.leaks(of_groups=True))
    classifier = models.lightning_module_of(variant)(num_classes, channels, variant=variant)
    takes_size = partial(takes, classifier.network, channels)
    if not takes_size(size):
        text = f"{variant} cannot take images of {size}×{size}; it takes {describe_sizes(takes_size)}"
        yield Finding("error", "network", text)
        return
    processors = _check_processors()
    yield processors
    precision, finding = _check_precision(classifier, channels, size, batch_size)
    yield finding
    yield _check_cost(classifier, data, size, batch_size, precision, memory_before)
    yield _check_room(classifier, runs_dir)
    if overfit_lr is not None:
        torch.manual_seed(0)
        if NUM_THREADS not in os.environ:
            torch.set_num_threads(processors.details["threads"])
        classifier = models.lightning_module_of(variant)(num_classes, channels, variant=variant)
        yield check_overfit(classifier, data, overfit_lr, _device())


def _data_module(dataset: DatasetName, **arguments: Any) -> ImageDataModule:
    if dataset.class_name == "ImageFolder" and dataset.data_dir is None:
        raise ValueError("ImageFolder needs a folder: --data photos/, or --data ImageFolder --data_dir photos/")
    if dataset.class_name == "ImageTable" and dataset.table is None:
        raise ValueError("ImageTable needs a table: --data photos.csv")
    return getattr(datasets, dataset.class_name)(**dataset.arguments, **arguments)


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Silences warnings that are findings too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        yield


# Files and splits


def _check_left_out(folder: Path, left_out: Sequence[LeftOut]) -> Finding:
    """Says which files are no part of the data, and whether some of them are images all the same."""
    if not left_out:
        return Finding("ok", "omitted", "nothing is left out")
    missed = [left for left in left_out if left.may_be_missed]
    named = (f"{left.path} ({left.reason.value})" for left in missed or left_out)
    text = f"left out: {count_left_out(left_out)}: {first(named, NUM_NAMED)}"
    unnamed = [left.path for left in missed if left.reason is Reason.OTHER and _is_image(folder / left.path)]
    if unnamed:
        text += f"; images without an ending like .jpg: {first(unnamed, NUM_NAMED)}"
    details = {left.path: left.reason.value for left in left_out}
    return Finding("warning" if missed else "ok", "omitted", text, {"files": details, "images": unnamed})


def _is_image(file: Path) -> bool:
    try:
        is_grey(file)
    except ValueError:
        return False
    return True


def _check_splits(data: ImageDataModule) -> Iterator[Finding]:
    for split, counts in data.counts().items():
        by_class = dict(zip(data.class_names, counts, strict=True))
        rarest, commonest = min(by_class, key=by_class.__getitem__), max(by_class, key=by_class.__getitem__)
        fewest, most = by_class[rarest], by_class[commonest]
        each = f"{most:,} each" if fewest == most else f"{fewest:,} ({rarest}) to {most:,} ({commonest}) each"
        text = f"{sum(counts):,} images of {data.num_classes} classes, {each}"
        level: Level = "ok"
        few = f"fewer than {FEW_IMAGES} are few to learn from"
        if absent := [name for name, number in by_class.items() if not number]:
            level, text = "warning", f"{text}: nothing is measured of {first(absent, NUM_NAMED)}; add images"
        elif split == "train" and most >= UNBALANCED * fewest:
            rare = f"{few}; " if fewest < FEW_IMAGES else ""
            advice = "try --data.balance weights or sampler, and look at balanced accuracy"
            level, text = "warning", f"{text}: {rare}{advice}"
        elif split == "train" and fewest < FEW_IMAGES:
            level, text = "warning", f"{text}: {few}"
        yield Finding(level, split, text, by_class)


# Machine


def _check_processors() -> Finding:
    usable, busy = usable_processors(), OTHER_PROGRAMS.busy_processors()
    threads = share_of_threads(usable, busy)
    text = f"{describe_load(usable, busy)}: training uses {threads} thread{'s' if threads > 1 else ''}"
    details = {"processors": usable, "busy": round(busy, 2), "threads": threads}
    return Finding("ok" if threads == usable else "warning", "processors", text, details)


def _check_precision(classifier: LitClassifier, channels: int, size: int, batch_size: int) -> tuple[str, Finding]:
    device = _device()
    image = torch.zeros(1, channels, size, size)
    multiply_adds = batch_size * count_multiply_adds(classifier.network, image)
    precision = choose_precision(device.type, multiply_adds)
    if device.type == "cpu":
        gain = bfloat16_gain()
        text = f"on this processor a convolution in bfloat16 is {gain:.1f} times as fast as in float32"
    else:
        gain, text = None, torch.cuda.get_device_name() if device.type == "cuda" else device.type
    text = f"{text}; {multiply_adds / 1e6:,.0f} million multiply-adds a batch: auto is {precision}"
    return precision, Finding("ok", "precision", text, {"precision": precision, "bfloat16_gain": gain})


def bfloat16_gain() -> float:
    """Speed of a convolution in bfloat16 on the processor, as a multiple of its speed in float32."""
    image, weight = torch.ones(32, 64, 24, 24), torch.ones(64, 64, 3, 3)
    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    with torch.inference_mode():
        for _ in range(7):  # in turn; the fastest of each, because other programs make some slower
            for dtype in seconds:
                x, w = (t.to(dtype, memory_format=torch.channels_last) for t in (image, weight))
                began = time.perf_counter()
                F.conv2d(x, w, padding=1)
                seconds[dtype] = min(seconds[dtype], time.perf_counter() - began)
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _check_cost(
    classifier: LitClassifier, data: ImageDataModule, size: int, batch_size: int, precision: str, free: int
) -> Finding:
    num_images = len(data.splits["train"].labels)
    try:
        seconds = _seconds_per_step(classifier, min(batch_size, num_images), size, precision)
    except RuntimeError as error:
        if not OUT_OF_MEMORY.search(str(error)):
            raise
        return Finding("error", "cost", f"{out_of_memory(error)}: make --data.batch_size smaller")
    epoch = seconds * max(1, num_images // batch_size)
    peak = peak_memory()  # with the images, unless they lie in a file
    text = f"about {_duration(epoch)} an epoch of {num_images:,} images, {format_bytes(peak)} of memory"
    details = {"seconds_per_epoch": round(epoch, 1), "memory_bytes": peak, "free_memory_bytes": free}
    if peak > free:
        text += f", but {format_bytes(free)} are free: make --data.batch_size smaller"
        return Finding("error", "cost", text, details)
    return Finding("ok", "cost", text, details)


def _seconds_per_step(classifier: LitClassifier, batch_size: int, size: int, precision: str) -> float:
    device = _device()
    classifier.to(device).train()
    images = torch.rand(batch_size, classifier.in_channels, size, size, device=device)
    labels = torch.arange(batch_size, device=device) % classifier.num_classes
    optimizer = torch.optim.SGD(classifier.parameters(), lr=1e-6, momentum=0.9)
    fastest = float("inf")
    for _ in range(MEASURED_STEPS):
        began = time.perf_counter()
        _step(classifier, images, labels, optimizer, precision)
        if device.type != "cpu":
            torch.accelerator.synchronize()
        fastest = min(fastest, time.perf_counter() - began)
    return fastest


def _step(
    classifier: LitClassifier, images: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer, precision: str
) -> None:
    optimizer.zero_grad()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
        _, loss = classifier.training_loss(images.to(memory_format=torch.channels_last), labels)
    loss.backward()
    optimizer.step()


def _check_room(classifier: LitClassifier, runs_dir: str) -> Finding:
    optimizer = torch.optim.SGD(classifier.parameters(), lr=1, momentum=0.9)
    full, weights = checkpoint_bytes(classifier, [optimizer]), num_bytes(classifier.state_dict())
    total = needed_bytes(full, weights)
    folder = expand(runs_dir).absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        check_room(folder, full, weights)
    except OSError as error:
        return Finding("error", "checkpoints", str(error), {"bytes": total})
    free = format_bytes(shutil.disk_usage(folder).free)
    return Finding("ok", "checkpoints", f"up to {format_bytes(total)} in {runs_dir}, {free} are free", {"bytes": total})


def _device() -> torch.device:
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.1f} s"
