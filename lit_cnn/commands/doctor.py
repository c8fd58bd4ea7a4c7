"""What a long training would stumble over, found before it: ``lit-cnn doctor``."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_cnn import data as datasets
from lit_cnn import models
from lit_cnn.commands.messages import OUT_OF_MEMORY, one_line_errors, out_of_memory, quiet
from lit_cnn.data import ImageDataModule, ImageFolder
from lit_cnn.data.inspect import Finding, Level, about_files, scan
from lit_cnn.models import find_variant
from lit_cnn.network.counting import count_multiply_adds
from lit_cnn.network.sizes import describe_sizes, takes
from lit_cnn.system.memory import format_bytes, keep_freed_memory
from lit_cnn.training.callbacks.checkpointing import check_room, checkpoint_bytes
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.precision import choose_precision

# A class with fewer images than this is hard to learn and harder to judge.
FEW_IMAGES = 20
# The largest class against the smallest, from which accuracy says little.
UNBALANCED = 10
MEASURED_STEPS = 3


def examine(
    data: str,
    model: str,
    image_size: int | None = None,
    batch_size: int = 32,
    runs_dir: str = "runs",
    data_dir: str = "data",
) -> Iterator[Finding]:
    """Looks at a dataset, a network and this machine.

    Args:
        data: A folder of class folders, an archive of one, or a dataset by its class or as its recipes' folder is called.
        model: A variant, or an architecture, for its default variant.
        image_size: Height and width that the network is to see, in pixels; its own if not given.
        batch_size: Images in a training step.
        runs_dir: Where runs will be kept.
        data_dir: Where the files of a dataset lie, or are downloaded to.

    Yields:
        One finding after another, errors and what is in order alike.
    """
    model = find_variant(model)
    size = image_size or models.describe(model).image_size
    free = _free_memory()
    try:
        module = _data_module(data, size, batch_size, data_dir)
        if isinstance(module, ImageFolder):
            files = list(scan(module))
            yield from about_files(files, module, size)
            if any(file.problem for file in files):
                return
            module = ImageFolder(data, image_size=size, batch_size=batch_size)
        module.prepare_data()
        module.setup("fit")
        channels, num_classes = module.channels, module.num_classes
    except (ValueError, OSError) as error:
        yield Finding("error", "data", str(error))
        return
    yield from _about_splits(module)
    classifier = models.lightning_module_of(model)(num_classes, channels, variant=model)
    takes_size = partial(takes, classifier.network, channels)
    if not takes_size(size):
        text = f"{model} cannot take images of {size}×{size}; it takes {describe_sizes(takes_size)}"
        yield Finding("error", "network", text)
        return
    precision, finding = _about_precision(classifier, channels, size, batch_size)
    yield finding
    yield _about_cost(classifier, module, size, batch_size, precision, free)
    yield _about_room(classifier, runs_dir)


def _data_module(data: str, image_size: int, batch_size: int, data_dir: str) -> ImageDataModule:
    kinds = [getattr(datasets, name) for name in datasets.__all__ if name not in ("ImageDataModule", "ImageFolder")]
    for kind in kinds:
        if data == kind.__name__ or (data == kind.name and not Path(data).exists()):
            return kind(data_dir, image_size=image_size, batch_size=batch_size)
    if not Path(data).exists():
        names = ", ".join(sorted(kind.name for kind in kinds))
        raise ValueError(f"there is no folder, archive or dataset {data}; the datasets are {names}")
    # In colour for now: to find out whether all are grey, all must be images.
    return ImageFolder(data, image_size=image_size, batch_size=batch_size, channels=3)


# Splits


def _about_splits(data: ImageDataModule) -> Iterator[Finding]:
    for split, images in data.splits.items():
        counts = torch.bincount(images.labels, minlength=data.num_classes).tolist()
        by_class = dict(zip(data.class_names, counts, strict=True))
        least, most = min(by_class, key=by_class.get), max(by_class, key=by_class.get)
        text = (
            f"{sum(counts):,} images of {data.num_classes} classes, {counts[data.class_names.index(least)]:,} ({least}) to "
        )
        text += f"{by_class[most]:,} ({most}) each"
        level: Level = "ok"
        if split == "train" and by_class[most] > UNBALANCED * by_class[least]:
            level, text = "warning", f"{text}: give the rare ones --model.class_weights, and look at F1"
        elif split == "train" and by_class[least] < FEW_IMAGES:
            level, text = "warning", f"{text}: fewer than {FEW_IMAGES} are few to learn from"
        yield Finding(level, split, text, by_class)


# Machine


def _about_precision(classifier: LitClassifier, channels: int, size: int, batch_size: int) -> tuple[str, Finding]:
    device = _device()
    image = torch.zeros(1, channels, size, size)
    multiply_adds = batch_size * count_multiply_adds(classifier.network, image)
    precision = choose_precision(device.type, multiply_adds)
    if device.type == "cpu":
        gain = bfloat16_gain()
        text = f"a convolution in bfloat16 is {gain:.1f} times as fast as in float32 here"
    else:
        gain, text = None, f"{torch.cuda.get_device_name()}" if device.type == "cuda" else device.type
    text = f"{text}; {multiply_adds / 1e6:,.0f} million multiply-adds a batch: auto computes in {precision}"
    return precision, Finding("ok", "precision", text, {"precision": precision, "bfloat16_gain": gain})


def bfloat16_gain() -> float:
    """How many times as fast the processor convolves in bfloat16 as in float32."""
    image, weight = torch.ones(32, 64, 24, 24), torch.ones(64, 64, 3, 3)
    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    with torch.inference_mode():
        for _ in range(7):  # by turns; the quickest of each, for what is slower was disturbed
            for dtype in seconds:
                x, w = (t.to(dtype, memory_format=torch.channels_last) for t in (image, weight))
                began = time.perf_counter()
                F.conv2d(x, w, padding=1)
                seconds[dtype] = min(seconds[dtype], time.perf_counter() - began)
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _about_cost(
    classifier: LitClassifier, data: ImageDataModule, size: int, batch_size: int, precision: str, free: int | None
) -> Finding:
    num_images = len(data.splits["train"].labels)
    try:
        seconds = _seconds_of_a_step(classifier, min(batch_size, num_images), size, precision)
    except RuntimeError as error:
        if not OUT_OF_MEMORY.search(str(error)):
            raise
        return Finding("error", "cost", f"{out_of_memory(error)}: make --data.batch_size smaller")
    epoch = seconds * max(1, num_images // batch_size)
    peak = _peak_memory()  # the images are in it, unless they lie in a file
    text = f"about {_duration(epoch)} an epoch of {num_images:,} images, {format_bytes(peak)} of memory"
    details = {"seconds_per_epoch": round(epoch, 1), "memory_bytes": peak, "free_memory_bytes": free}
    if free is not None and peak > free:
        return Finding(
            "error", "cost", f"{text}, but {format_bytes(free)} are free: make --data.batch_size smaller", details
        )
    return Finding("ok", "cost", text, details)


def _seconds_of_a_step(classifier: LitClassifier, batch_size: int, size: int, precision: str) -> float:
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


def _about_room(classifier: LitClassifier, runs_dir: str) -> Finding:
    optimizer = torch.optim.SGD(classifier.parameters(), lr=1, momentum=0.9)
    one = checkpoint_bytes(classifier, [optimizer])
    folder = Path(runs_dir).absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        check_room(folder, one)
    except OSError as error:
        return Finding("error", "checkpoints", str(error), {"bytes": 4 * one})
    free = format_bytes(shutil.disk_usage(folder).free)
    return Finding("ok", "checkpoints", f"up to {format_bytes(4 * one)} in {runs_dir}, {free} are free", {"bytes": 4 * one})


def _device() -> torch.device:
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def _peak_memory() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _free_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.1f} s"


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn doctor``; the exit status is 1 if training would fail."""
    parser = argparse.ArgumentParser(
        prog="lit-cnn doctor", description="Look at data, network and machine before a long training."
    )
    parser.add_argument("--data", required=True, help="folder of class folders, archive of one, or name of a dataset")
    parser.add_argument("--data_dir", default="data", help="where the dataset's files are, or are downloaded to")
    parser.add_argument("--model", default="resnet18", help="a variant, or an architecture (default: %(default)s)")
    parser.add_argument("--image_size", type=int, help="in pixels (default: the network's own)")
    parser.add_argument("--batch_size", type=int, default=32, help="images in a step (default: %(default)s)")
    parser.add_argument("--runs_dir", default="runs", help="where runs will be kept (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the findings for a program")
    options = parser.parse_args(arguments[1:])
    quiet()
    keep_freed_memory()
    findings: list[Finding] = []
    with one_line_errors():
        for finding in examine(**{key: value for key, value in vars(options).items() if key != "json"}):
            findings.append(finding)
            if not options.json:
                print(f"{finding.level:8} {finding.about:12} {finding.text}", flush=True)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    return int(any(finding.level == "error" for finding in findings))
