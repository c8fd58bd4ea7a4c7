"""The cost of each augmentation, beside a training step of ResNet-18."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor

from lit_cnn.analysis.provenance import Report
from lit_cnn.benchmark.case import Case
from lit_cnn.benchmark.process import run_arm
from lit_cnn.benchmark.stopwatch import await_device
from lit_cnn.data.augment import Augment, Augmentation, Preset, shuffled
from lit_cnn.data.frame import choose_frame, side_of

BATCH_SIZE = 128
# Channels, height and width: MNIST, CIFAR-10, small photographs.
SHAPES = ((1, 28), (3, 32), (3, 96))
# Of which the presets are compared with a training step.
STEP_SIZE = 96
OPERATIONS: dict[str, dict[str, Any]] = {
    "shift and flip": {"flip": True, "crop_padding": 4},
    "random resized crop": {"min_area": 0.35},
    "rotation, shear, translation, zoom": {"rotate": 10, "shear": 5, "translate": 0.1, "zoom": 0.1},
    "brightness": {"brightness": 0.4},
    "contrast": {"contrast": 0.4},
    "saturation": {"saturation": 0.4},
    "hue": {"hue": 0.1},
    "grey": {"grey": 0.2},
    "sharpness": {"sharpness": 0.4},
    "posterising": {"posterise": 0.2},
    "solarising": {"solarise": 0.2},
    "autocontrast": {"autocontrast": 0.2},
    "equalising": {"equalise": 0.2},
    "TrivialAugment": {"policy": "trivial"},
    "RandAugment": {"policy": "randaugment"},
    "erasing": {"erasing": 0.25},
    "Cutout": {"cutout": 8},
    "MixUp": {"mixup": 0.2},
    "CutMix": {"cutmix": 1.0},
}
COLOURS = ("saturation", "hue", "grey")


def measure_augmentation(device: str, seconds: float, repeats: int, report: Report) -> dict[str, Any]:
    """Measures every operation at every shape, and the presets beside a training step of ResNet-18 at 96×96.

    Returns:
        ``operations``: by shape and operation, images per second of every round. ``presets``: by name, the share of the time
        of a training step, of every round. ``step_images_per_s``: of the training step.
    """
    operations: dict[str, dict[str, list[float]]] = {}
    presets: dict[str, list[float]] = {name: [] for name in get_args(Preset) if name != "none"}
    speeds: list[float] = []
    step = Case(
        "resnet18", "synthetic", STEP_SIZE, BATCH_SIZE, device=device, seconds=seconds, channels=3, native_size=STEP_SIZE
    )
    ceilings = run_arm("trials", replace(step, seconds=min(seconds, 4.0)))
    step = replace(step, ceiling=max(ceilings, key=ceilings.__getitem__))
    for number in range(repeats):
        speeds.append(run_arm("ceiling", step)["images_per_s"])
        report(f"round {number + 1} of {repeats}: ResNet-18 in {step.ceiling}, {speeds[-1]:,.0f} images/s")
        for channels, size in SHAPES:
            images = _images(channels, size, device)
            rounds = operations.setdefault(f"{channels}×{size}×{size}", {})
            for name, parts in OPERATIONS.items():
                if channels == 3 or name not in COLOURS:
                    speed = BATCH_SIZE / seconds_per_batch(Augmentation(**parts), images, size)
                    rounds.setdefault(name, []).append(speed)
            report(f"round {number + 1} of {repeats}: operations at {channels}×{size}×{size}")
        for name, shares in presets.items():
            augmentation = Augmentation.of(Augment.of(name), None, None, "area", True, STEP_SIZE)
            # As a folder of photographs is stored.
            side = side_of(STEP_SIZE, choose_frame(None, STEP_SIZE, augmentation.min_area < 1))
            took = seconds_per_batch(augmentation, _images(3, side, device), STEP_SIZE)
            shares.append(took / (BATCH_SIZE / speeds[-1]))
    return {"operations": operations, "presets": presets, "step_images_per_s": speeds, "step": step.ceiling}


def _images(channels: int, size: int, device: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (BATCH_SIZE, channels, size, size), dtype=torch.uint8, generator=generator).to(device)


def seconds_per_batch(augmentation: Augmentation, images: Tensor, image_size: int, num_batches: int = 15) -> float:
    """Median time that an augmentation takes for a batch, without the normalisation between its two parts.

    Args:
        augmentation: What is measured.
        images: uint8 (N, C, H, W), as they are stored: larger than the network sees them if they have a frame.
        image_size: Height and width that the network sees, in pixels.
        num_batches: That are timed.
    """
    count, is_framed = len(images), images.shape[-1] > image_size
    normalised = images[..., :image_size, :image_size].float().contiguous(memory_format=torch.channels_last)
    labels = torch.arange(count, device=images.device) % 10
    times = []
    for epoch in range(3 + num_batches):
        more = augmentation.draw_more(0, epoch, count)
        _, draws = shuffled(0, epoch, count)
        draws = (draws if more is None else torch.cat([draws, more], 1)).to(images.device)
        await_device()
        began = time.perf_counter()
        augmentation.transform(images, draws, image_size, is_framed)
        augmentation.finish(normalised, labels, draws, 10)
        await_device()
        times.append(time.perf_counter() - began)
    return statistics.median(times[3:])


def medians(measured: dict[str, Any]) -> list[tuple[str, list[float | None]]]:
    """For each operation, the median images per second at each shape; None where it does nothing."""
    shapes = measured["operations"].values()
    return [
        (name, [statistics.median(rounds[name]) if name in rounds else None for rounds in shapes]) for name in OPERATIONS
    ]
