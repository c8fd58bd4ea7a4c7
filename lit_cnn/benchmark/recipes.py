"""Accuracy of recipes: each is trained with several seeds, each time by ``lit-cnn fit`` in a process of its own."""

from __future__ import annotations

import csv
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml

from lit_cnn import data as datasets
from lit_cnn.analysis.provenance import DIRTY, Report, measured_commit, processor_name, save
from lit_cnn.benchmark.process import run_lit_cnn

RECIPES = "experiments/digits"
# Copied from results.json of each run.
RESULTS = ("test/acc", "test/acc_low", "test/acc_high", "test/images", "val/acc", "seconds", "train/images_per_s")


def find_recipes(names: list[str] | None) -> list[Path]:
    """The recipes of these files, as paths from the current folder; those of the digits if there are no names.

    Raises:
        ValueError: If a file does not exist.
    """
    paths = [Path(name).absolute() for name in names or sorted(Path(RECIPES).glob("*.yaml"))]
    if not paths:
        raise ValueError(f"there are no recipes in {RECIPES}: name them with --recipe, or change to the folder of lit_cnn")
    for path in paths:
        if not path.is_file():
            raise ValueError(f"there is no recipe {path}")
    current = Path.cwd()
    return [path.relative_to(current) if path.is_relative_to(current) else path for path in paths]


def run_recipe(recipe: Path, seed: int, device: str, data_dir: str | None, epochs: int | None) -> dict[str, Any]:
    """Trains and tests once, in a temporary folder of runs.

    Args:
        recipe: A configuration of ``lit-cnn fit``.
        seed: Of everything.
        device: ``cpu`` or ``cuda``.
        data_dir: Where the dataset's files are; None for the recipe's own. Datasets without files ignore it.
        epochs: In place of the recipe's.
    Returns:
        Test accuracy with its 95 % interval, validation accuracy, seconds, images per second, epochs and precision.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ["--seed_everything", str(seed), "--test_after_fit", "--runs_dir", folder]
        options += ["--trainer.accelerator", "cpu" if device == "cpu" else "gpu", "--trainer.devices", "1"]
        options += ["--trainer.max_epochs", str(epochs)] if epochs else []
        data = yaml.safe_load(recipe.read_text(encoding="utf-8"))["data"]
        name = (data["class_path"] if isinstance(data, dict) else data).rpartition(".")[2]
        reads_files = getattr(datasets, name).source_without_files is None
        options += ["--data.data_dir", data_dir] if data_dir and reads_files else []
        run_lit_cnn("fit", "--config", str(recipe), *options)
        (run,) = (path.parent for path in Path(folder).glob("**/results.json"))
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        with (run / "metrics.csv").open(newline="", encoding="utf-8") as metrics:
            num_epochs = len(list(csv.DictReader(metrics)))
        precision = json.loads((run / "environment.json").read_text(encoding="utf-8"))["precision"]
    return {**{name: results[name] for name in RESULTS}, "epochs": num_epochs, "precision": precision}


def measure_recipes(
    recipes: list[Path],
    num_seeds: int,
    report: Report,
    output: str | None = None,
    device: str = "cpu",
    data_dir: str | None = None,
    epochs: int | None = None,
) -> list[dict[str, Any]]:
    """Trains each recipe with the seeds 0, 1, …; saves after each run, and skips runs that the output holds.

    Returns:
        All runs, those that the output held among them: the results of :func:`run_recipe` with the recipe, the seed, the
        commit, torch's version, the processor, the device, and under ``epochs_given`` the epochs in place of the recipe's.
    Raises:
        ValueError: If the output holds runs of another commit, processor, device or version of torch.
    """
    versions = {"commit": measured_commit(), "torch": torch.__version__}
    source = {**versions, "processor": processor_name(), "device": device}
    earlier = _earlier(output, source)
    runs, commands = earlier["runs"], earlier["earlier_commands"]
    for recipe in recipes:
        for seed in range(num_seeds):
            label = f"{recipe.as_posix()}, seed {seed}"
            settings = {"recipe": recipe.as_posix(), "seed": seed, "epochs_given": epochs}
            if any(settings.items() <= run.items() for run in runs):
                report(f"{label}: already in {output}")
                continue
            runs.append({**settings, **run_recipe(recipe, seed, device, data_dir, epochs), **source})
            save(output, earlier_commands=commands, runs=runs)
            report(f"{label}: test accuracy {runs[-1]['test/acc']:.2%}, {runs[-1]['seconds']:,.0f} s")
    return runs


def _earlier(output: str | None, source: dict[str, Any]) -> dict[str, Any]:
    """The runs that the output holds, and the commands that measured them."""
    if not output or not Path(output).is_file():
        return {"runs": [], "earlier_commands": []}
    content = json.loads(Path(output).read_text(encoding="utf-8"))
    if "runs" not in content:
        raise ValueError(f"{output} holds no runs of recipes: name another --output")
    for run in content["runs"]:
        for name, value in source.items():
            if run[name] != value:
                raise ValueError(f"{output} holds runs of {name} {run[name]}, this is {value}: name another --output")
    if (source["commit"] or "").endswith(DIRTY):
        raise ValueError(f"{output} cannot be resumed, for the code has uncommitted changes: name another --output")
    commands = content["earlier_commands"]
    new = [] if content["command"] in commands else [content["command"]]
    return {"runs": content["runs"], "earlier_commands": commands + new}


def summarise_recipes(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each recipe: seeds, mean and standard deviation of the test accuracy, medians of time and speed."""
    groups: dict[tuple[str, int | None], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["recipe"], run["epochs_given"]), []).append(run)
    return [
        {
            "recipe": recipe,
            "epochs": group[0]["epochs"],
            "epochs_given": epochs_given,
            "precision": group[0]["precision"],
            "seeds": [run["seed"] for run in group],
            "mean": statistics.mean(run["test/acc"] for run in group),
            "sd": statistics.stdev(run["test/acc"] for run in group) if len(group) > 1 else None,
            "val_mean": statistics.mean(run["val/acc"] for run in group),
            "seconds": statistics.median(run["seconds"] for run in group),
            "images_per_s": statistics.median(run["train/images_per_s"] for run in group),
        }
        for (recipe, epochs_given), group in groups.items()
    ]
