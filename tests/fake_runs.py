"""Folders of runs that nobody trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lit_cnn.runs.folder import Run
from lit_cnn.runs.predictions import RunPredictions

CLASSES = ("ant", "bee")


def write_run(
    folder: Path,
    seed: int = 0,
    accuracy: float = 0.5,
    epochs: int = 2,
    settings: Mapping[str, Any] | None = None,
    results: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
) -> Run:
    """A finished run of two epochs, tested and validated with the same accuracy.

    Args:
        folder: Of the run.
        seed: Of ``seed_everything``.
        accuracy: On both splits.
        epochs: Number of finished epochs.
        settings: Settings that differ, such as ``{"model.lr": 0.1}``.
        results: Further or other entries of ``results.json``.
        data: Other entries of ``data.json``.
    """
    folder.mkdir(parents=True)
    run = Run(folder)
    config: dict[str, Any] = {
        "seed_everything": seed,
        "trainer": {"max_epochs": 2},
        "model": {"class_path": "lit_cnn.LitLeNet", "init_args": {"variant": "lenet", "lr": 0.02, "batch_norm": None}},
        "data": {"class_path": "lit_cnn.Digits", "init_args": {"image_size": 28, "batch_size": 10}},
    }
    for name, value in (settings or {}).items():
        group, _, argument = name.partition(".")
        if not argument:
            config[group] = value
        elif group == "trainer":
            config[group][argument] = value
        else:
            config[group]["init_args"][argument] = value
    run.config.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    environment = {"id": str(folder), "format": 1, "version": "0.1.0", "time": "2026-01-01T10:00:00+00:00"}
    environment |= {"dataset": "digits", "variant": config["model"]["init_args"]["variant"], "device": "cpu", "threads": 2}
    run.environment.write_text(json.dumps(environment), encoding="utf-8")
    counts = {"train": 100, "val": 40}
    content = {"dataset": "digits", "digest": "d1" * 16, "classes": CLASSES, "channels": 1, "counts": counts}
    (folder / "data.json").write_text(json.dumps(content | dict(data or {})), encoding="utf-8")
    run.write_metrics({"epoch": n, "step": 10 * (n + 1), "val/acc": accuracy, "val/loss": 1.0} for n in range(epochs))
    entries = {"seconds": 3.0, "val/acc": accuracy, "test/acc": accuracy, "test/images": 40, "test/digest": "e2" * 16}
    run.add_results(entries | dict(results or {}))
    return run


def write_predictions(
    run: Run,
    correct: np.ndarray,
    split: str = "test",
    images: list[str] | None = None,
    digest: str = "e2" * 16,
    checkpoint: str = "checkpoints/last.ckpt",
) -> None:
    """Predictions that recognise these images, (N,) bool; the accuracy of the run follows them."""
    labels = np.arange(len(correct)) % 2
    logits = np.zeros((len(correct), 2), dtype=np.float32)
    logits[np.arange(len(correct)), np.where(correct, labels, 1 - labels)] = 1
    names = images or [f"#{number}" for number in range(len(correct))]
    RunPredictions(names, labels, logits, CLASSES, digest, checkpoint).write(run.predictions[split])
    run.add_results({f"{split}/acc": float(correct.mean())})


def write_arm(folder: Path, accuracies: Mapping[int, float] | list[float], **options: Any) -> Path:
    """A folder of runs, one for each seed."""
    by_seed = accuracies if isinstance(accuracies, Mapping) else dict(enumerate(accuracies))
    for seed, accuracy in by_seed.items():
        write_run(folder / f"seed-{seed}", seed, accuracy, **options)
    return folder


def write_arm_with_predictions(folder: Path, correct: Sequence[np.ndarray]) -> Path:
    """A folder of runs with predictions of the test images, one for each seed: see :func:`write_predictions`."""
    for seed, of_seed in enumerate(correct):
        write_predictions(write_run(folder / str(seed), seed), of_seed)
    return folder


def all_but(*wrong: int, num_images: int = 40) -> np.ndarray:
    """Which images are recognised: all but some."""
    return ~np.isin(np.arange(num_images), wrong)
