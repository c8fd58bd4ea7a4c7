"""How time and memory of ``lit-cnn fit`` grow when one setting changes."""

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

from lit_cnn.analysis.provenance import Report
from lit_cnn.benchmark.process import last_line

# Settings of every measurement, unless an axis changes them: a LeNet on 20,000 images of 28×28.
BASE = {
    "--model": "LitLeNet",
    "--data": "FakeImages",
    "--data.num_images": 20_000,
    "--data.val_fraction": 0.1,
    "--data.batch_size": 256,
    "--trainer.max_epochs": 3,
    "--trainer.devices": 1,
}
# The axis of sizes needs a network that takes any size.
ANY_SIZE = {
    "--model": "LitResNet",
    "--model.variant": "resnet18",
    "--data.num_images": 2_000,
    "--data.batch_size": 64,
    "--trainer.max_epochs": 1,
}
# Name of an axis: the option that it changes, its values, other settings than the base's.
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
        Seconds of the whole command and of its training, images per second, and peak memory in MB. If there are several
        processes, the memory is that of the largest.

    Raises:
        ChildProcessError: If it failed, with the last line that it printed.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
        arguments = [str(part) for option in options.items() for part in option]
        command = [sys.executable, "-m", "lit_cnn", "fit", *arguments, "--runs_dir", folder]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=printed, stderr=printed)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            printed.seek(0)
            raise ChildProcessError(f"lit-cnn fit failed: {last_line(printed.read()) or 'no output'}")
        (path,) = Path(folder).glob("*/*/*/results.json")
        results = json.loads(path.read_text(encoding="utf-8"))
    return {
        "command_s": seconds,
        "training_s": results["seconds"],
        "images_per_s": results["train/images_per_s"],
        "peak_memory_mb": usage.ru_maxrss / 1024,
    }


def measure_growth(device: str, repeats: int, report: Report) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Measures every value of every axis, round after round.

    Args:
        device: ``cpu`` or ``cuda``.
        repeats: Number of rounds.
        report: Takes a line for each measurement.

    Yields:
        After each round, for each axis and value, the medians of the results of :func:`run_fit` so far, and under
        ``rounds`` the results.
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
        for (axis, value, changes), measured in zip(points, rounds, strict=True):
            measured.append(run_fit({**BASE, **accelerator, **changes}))
            time_and_memory = f"{measured[-1]['training_s']:,.1f} s, {measured[-1]['peak_memory_mb']:,.0f} MB"
            report(f"round {number + 1} of {repeats}: {axis} {value:,}, {time_and_memory}")
        rows: dict[str, list[dict[str, Any]]] = {axis: [] for axis in AXES}
        for (axis, value, _), measured in zip(points, rounds, strict=True):
            medians = {name: statistics.median(one[name] for one in measured) for name in measured[0]}
            rows[axis].append({"value": value, **medians, "rounds": list(measured)})
        yield rows


def plot_growth(rows: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draws the medians of training time and memory against each axis, with bars from lowest to highest."""
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
    """Distances of each point's lowest and highest round from its median."""
    values = [[one[key] for one in point["rounds"]] for point in points]
    below = [point[key] - min(rounds) for point, rounds in zip(points, values, strict=True)]
    above = [max(rounds) - point[key] for point, rounds in zip(points, values, strict=True)]
    return below, above
