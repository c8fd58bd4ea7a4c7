"""Compares the speed of ``lit-cnn fit`` with the other arms; they are measured alternately."""

from __future__ import annotations

import os
import statistics
from dataclasses import asdict, replace
from typing import Any

from lit_cnn.analysis.provenance import Report
from lit_cnn.benchmark.arms import ARMS
from lit_cnn.benchmark.case import Case
from lit_cnn.benchmark.process import run_arm


def measure_speed(case: Case, repeats: int, report: Report, workers: int | None = None) -> dict[str, Any]:
    """Measures all arms of a case, round after round, so that a busy machine slows all of them.

    Trials come first. They give the loops by hand their fastest number of workers, unless ``workers`` says it, and the
    ceiling its fastest precision and memory format.
    """
    trial = replace(case, seconds=min(case.seconds, 4.0))
    speeds: dict[int, float] = {}
    if workers is None:
        speeds = _try_workers(trial, report)
        workers = max(speeds, key=speeds.__getitem__)
    ceilings = run_arm("trials", trial)
    for choice, speed in ceilings.items():
        report(f"{case.model}, trial: ceiling in {choice}, {speed:,.0f} images/s")
    case = replace(case, ceiling=max(ceilings, key=ceilings.__getitem__))
    measured: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for number in range(repeats):
        for arm, rounds in measured.items():
            rounds.append(run_arm(arm, case, workers if arm in ("plain", "lightning") else 0))
            report(f"{case.model}, round {number + 1} of {repeats}: {arm}, {rounds[-1]['images_per_s']:,.0f} images/s")
    trials = {"plain_images_per_s_by_workers": speeds, "workers": workers, "ceiling_images_per_s": ceilings}
    return {"case": asdict(case), **trials, "arms": measured}


def _try_workers(trial: Case, report: Report) -> dict[int, float]:
    """Images per second of the plain loop by its number of workers."""
    processors = os.cpu_count() or 1
    speeds: dict[int, float] = {}
    for count in sorted({0, 1, 2, processors} | {2**power for power in range(processors.bit_length())}):
        if count <= processors:
            speeds[count] = run_arm("plain", trial, count)["images_per_s"]
            report(f"{trial.model}, trial: plain with {count} workers, {speeds[count]:,.0f} images/s")
    return speeds


def summarise(result: dict[str, Any]) -> dict[str, Any]:
    """Medians of a case's arms, and ratios of ``lit_cnn`` to the others: the median of the ratios of each round."""
    arms = result["arms"]
    summary: dict[str, Any] = {}
    for arm, rounds in arms.items():
        speeds = [one["images_per_s"] for one in rounds]
        summary[arm] = {
            "images_per_s": statistics.median(speeds),
            "lowest": min(speeds),
            "highest": max(speeds),
            "first_step_s": statistics.median(one["first_step_s"] for one in rounds),
            "peak_memory_mb": max(one["peak_memory_mb"] for one in rounds),
        }
        if "peak_device_memory_mb" in rounds[0]:
            summary[arm]["peak_device_memory_mb"] = max(one["peak_device_memory_mb"] for one in rounds)
        if rounds[0]["first_epoch_images_per_s"]:
            summary[arm]["first_epoch_images_per_s"] = statistics.median(one["first_epoch_images_per_s"] for one in rounds)
    for arm in ("plain", "lightning", "ceiling"):
        pairs = zip(arms["lit_cnn"], arms[arm], strict=True)
        summary[f"lit_cnn/{arm}"] = statistics.median(ours["images_per_s"] / other["images_per_s"] for ours, other in pairs)
    if "first_epoch_images_per_s" in summary["plain"]:
        ours, other = (summary[arm]["first_epoch_images_per_s"] for arm in ("lit_cnn", "plain"))
        summary["first epoch: lit_cnn/plain"] = ours / other
    return summary
