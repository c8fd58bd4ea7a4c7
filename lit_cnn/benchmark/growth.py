"""How the time and the memory of ``lit-cnn fit`` grow, with one thing changed at a time."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

# What every measurement has in common, unless an axis changes it: a LeNet on 20,000 images of 28×28.
BASE = {
    "--model": "LitLeNet",
    "--data": "FakeImages",
    "--data.num_images": 20_000,
    "--data.val_fraction": 0.1,
    "--data.batch_size": 256,
    "--trainer.max_epochs": 3,
    "--trainer.devices": 1,
}
# A network that takes any size, for the axis of sizes.
ANY_SIZE = {
    "--model": "LitResNet",
    "--model.variant": "resnet18",
    "--data.num_images": 2_000,
    "--data.batch_size": 64,
    "--trainer.max_epochs": 1,
}
# Name of an axis: the option that it changes, its values, what is different from the base.
AXES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "images": ("--data.num_images", (1_000, 5_000, 10_000, 20_000, 40_000, 60_000), {}),
    "image size": ("--data.image_size", (32, 64, 96, 128), ANY_SIZE),
    "batch size": ("--data.batch_size", (32, 64, 128, 256, 512, 1024), {}),
    "workers": ("--data.num_workers", (0, 1, 2, 4), {}),
    "processes": ("--trainer.devices", (1, 2), {}),
}


def run_fit(options: dict[str, Any]) -> dict[str, float]:
    """Trains in a process of its own.

    Returns:
        Seconds of the whole command and of the training in it, images per second, and the peak memory in MB of the process
        (the greatest, where there are several).

    Raises:
        ChildProcessError: If it failed; says what it printed last.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as printed:
        arguments = [str(part) for option in options.items() for part in option]
        command = [sys.executable, "-m", "lit_cnn", "fit", *arguments, "--runs_dir", folder]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=printed, stderr=printed)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            printed.seek(0)
            raise ChildProcessError(f"lit-cnn fit failed: {(printed.read().strip() or 'no output').splitlines()[-1]}")
        (results,) = Path(folder).glob("*/*/*/results.json")
        found = json.loads(results.read_text())
    return {
        "command_s": seconds,
        "training_s": found["seconds"],
        "images_per_s": found["train/images_per_s"],
        "peak_memory_mb": usage.ru_maxrss / 1024,
    }


def measure_growth(device: str, repeats: int) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Measures every point of every axis, and then all of them again; prints a line for each measurement.

    Args:
        device: ``cpu`` or ``cuda``.
        repeats: How often.

    Yields:
        After each round, by axis and for each value of it, the medians of what :func:`run_fit` has returned so far, and
        under ``rounds`` what it returned.
    """
    points = [
        (axis, value, changes | {option: value})
        for axis, (option, values, changes) in AXES.items()
        for value in values
        if option != "--trainer.devices" or device == "cpu" or value <= torch.cuda.device_count()
    ]
    accelerator = {"--trainer.accelerator": "cpu" if device == "cpu" else "gpu"}
    rounds: list[list[dict[str, float]]] = [[] for _ in points]
    for number in range(repeats):
        _print_head(f"round {number + 1} of {repeats}")
        for (axis, value, changes), measured in zip(points, rounds, strict=True):
            measured.append(run_fit({**BASE, **accelerator, **changes}))
            _print_row(axis, value, measured[-1])
        rows: dict[str, list[dict[str, Any]]] = {axis: [] for axis in AXES}
        for (axis, value, _), measured in zip(points, rounds, strict=True):
            medians = {name: statistics.median(one[name] for one in measured) for name in measured[0]}
            rows[axis].append({"value": value, **medians, "rounds": list(measured)})
        yield rows


def print_growth(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Prints the medians."""
    _print_head("medians")
    for axis, points in rows.items():
        for point in points:
            _print_row(axis, point["value"], point)


def _print_head(title: str) -> None:
    print(
        f"\n{title}\n{'axis':12} {'value':>7} {'command':>10} {'training':>10} {'images/s':>10} {'peak memory':>12}",
        flush=True,
    )


def _print_row(axis: str, value: int, row: dict[str, float]) -> None:
    print(
        f"{axis:12} {value:>7,} {row['command_s']:>8.1f} s {row['training_s']:>8.1f} s "
        f"{row['images_per_s']:>10,.0f} {row['peak_memory_mb']:>9,.0f} MB",
        flush=True,
    )


def plot_growth(rows: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draws the medians of training time and memory against each axis, with bars from the lowest to the highest."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(rows), 5.6), layout="constrained")
    axes = figure.subplots(2, len(rows), squeeze=False)
    for column, (axis, points) in enumerate(rows.items()):
        values = [point["value"] for point in points]
        for row, (key, label) in enumerate((("training_s", "training time in s"), ("peak_memory_mb", "peak memory in MB"))):
            plot = axes[row][column]
            below, above = around_medians(points, key)
            plot.errorbar(values, [point[key] for point in points], [below, above], marker="o", capsize=3)
            plot.set_ylim(0, 1.1 * max(point[key] + more for point, more in zip(points, above, strict=True)))
            plot.set_xlabel(axis)
            plot.set_xticks(values if len(values) < 5 else [values[0], values[-1]])
            plot.set_ylabel(label if column == 0 else "")
            plot.grid(alpha=0.3)
    num_rounds = len(next(iter(rows.values()))[0]["rounds"])
    figure.suptitle(
        f"medians of {num_rounds} rounds, lowest to highest" if num_rounds > 1 else "one round", fontsize="small"
    )
    figure.savefig(path, dpi=100)


def around_medians(points: list[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """How far the lowest and the highest of a point's rounds lie from its median."""
    values = [[one[key] for one in point["rounds"]] for point in points]
    below = [point[key] - min(rounds) for point, rounds in zip(points, values, strict=True)]
    above = [max(rounds) - point[key] for point, rounds in zip(points, values, strict=True)]
    return below, above
