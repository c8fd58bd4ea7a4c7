"""Measures which rule for the best checkpoint loses least, on the digits' training images alone.

``python experiments/results/checkpoint_rule.py --output experiments/results/checkpoint_rule.json --workers 2`` trains every
recipe of ``experiments/digits`` with 20 seeds. The same command resumes a stopped measurement.

The 1,437 training images are divided anew for each seed: 144 are the judge, which every rule sees; 360 are held out, on
which the chosen weights are measured; the others train. The 360 test images are never read. After each epoch, the trained
weights and averages of them are measured on both. Averages begin with smaller decays, so that 0.999 would be the same as
0.99 in trainings of fewer than 890 steps.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import yaml
from program import ROOT
from pytorch_lightning.callbacks import Callback

import lit_cnn
from lit_cnn import Digits
from lit_cnn.analysis.provenance import describe_machine, measured_commit
from lit_cnn.analysis.statistics import mean_interval, paired_difference
from lit_cnn.data.splits import Subset, stratified_split
from lit_cnn.inference.interval import Interval
from lit_cnn.network.base import evaluating
from lit_cnn.network.counting import count_multiply_adds
from lit_cnn.runs.environment import without_folders
from lit_cnn.runs.monitor import best_row
from lit_cnn.system.json_files import read_object, write_object
from lit_cnn.training.callbacks.averaging import EMA
from lit_cnn.training.metrics import EvaluationMetrics
from lit_cnn.training.precision import choose_precision

# The quickest first.
RECIPES = ("lenet", "mlp", "nin", "resnet", "densenet", "vgg", "googlenet", "alexnet")
NUM_SEEDS = 20
NUM_JUDGE, NUM_HELD_OUT = 144, 360
# Weights that are measured: the trained ones, and averages with these decays.
DECAYS = {"trained": None, "ema 0.9": 0.9, "ema 0.99": 0.99}
# The same with the current statistics of BatchNorm.
COPIED = {"ema 0.9, statistics copied": 0.9, "ema 0.99, statistics copied": 0.99}
CHOICES = ("acc", "acc, then loss", "loss", "f1", "last")
# What the others are compared with: the usual rule.
USUAL = "trained: acc"


class Divided(Digits):
    """The digits' training images in three parts; the validation images are the judge."""

    def read(self, split: str) -> Subset:
        assert split != "test"
        images = super().read("train")
        rest, held_out = stratified_split(images.labels, NUM_HELD_OUT / len(images.labels), self.split_seed)
        others = Subset(images, rest)
        if split == "held out":
            return Subset(images, held_out)
        train, judge = stratified_split(others.labels, NUM_JUDGE / len(others.labels), self.split_seed)
        return Subset(others, train if split == "train" else judge)


class Average(EMA):
    """An average that is only looked at: it neither validates nor replaces the trained weights."""

    def __init__(self, decay: float, copies_statistics: bool) -> None:
        super().__init__(decay)
        self.copies_statistics = copies_statistics

    @property
    def state_key(self) -> str:
        return f"{self.decay} {self.copies_statistics}"  # a Trainer takes one callback of each

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if self.copies_statistics:
            number = len(list(pl_module.parameters()))
            for copied, averaged in zip(self._copied, self._averaged, strict=True):
                copied.extend(averaged[number:])
                del averaged[number:]

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves the trained weights in the network."""

    @property
    def network(self) -> torch.nn.Module:
        return self._average_model.module.network


class Watch(Callback):
    """Measures all weights on the judge and on the held-out images after each epoch.

    Args:
        data: The images.
        averages: By the names of their weights.
    """

    def __init__(self, data: Divided, averages: dict[str, Average]) -> None:
        self.data = data
        self.averages = averages
        self.rows: dict[str, list[dict[str, float]]] = {name: [] for name in ("trained", *averages)}
        self._parts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for name, images in (("val", self.data.splits["val"]), ("held_out", self.data.read("held out"))):
            pixels = images.fetch(torch.arange(len(images.labels)))
            self._parts[name] = self.data.preprocessing(pixels).contiguous(memory_format=torch.channels_last), images.labels

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        networks = {"trained": pl_module.network} | {name: one.network for name, one in self.averages.items()}
        for name, network in networks.items():
            with evaluating(network), torch.inference_mode(), trainer.precision_plugin.forward_context():
                parts = [measure(network, part, *images) for part, images in self._parts.items()]
            self.rows[name].append({key: value for part in parts for key, value in part.items()})


def measure(network: torch.nn.Module, part: str, images: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Accuracy, loss and F1 of a network on a part of the images."""
    metrics = EvaluationMetrics(part, 10)
    for batch, own in zip(images.split(180), labels.split(180), strict=True):
        metrics.update(network(batch).float(), own)
    values = metrics.compute()
    return {f"{part}/{name}": round(float(values[f"{part}/{name}"]), 5) for name in ("acc", "loss", "f1")}


def train(recipe: str, seed: int, copied: bool) -> dict[str, Any]:
    """Trains a recipe with a seed, which also divides the images."""
    torch.set_num_threads(1)
    settings = yaml.safe_load((ROOT / "experiments" / "digits" / f"{recipe}.yaml").read_text(encoding="utf-8"))
    pl.seed_everything(seed)
    of_data = {"num_classes": 10, "in_channels": 1}
    model = getattr(lit_cnn, settings["model"]["class_path"])(**of_data, **settings["model"]["init_args"])
    data = Divided(**settings["data"]["init_args"])
    image = torch.zeros(1, 1, data.image_size, data.image_size)
    precision = choose_precision("cpu", data.batch_size * count_multiply_adds(model.network, image))
    averages = {name: Average(decay, False) for name, decay in DECAYS.items() if decay}
    averages |= {name: Average(decay, True) for name, decay in COPIED.items()} if copied else {}
    watch, shown = Watch(data, averages), {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    began = time.perf_counter()
    trainer = pl.Trainer(
        **shown,
        max_epochs=settings["trainer"]["max_epochs"],
        accelerator="cpu",
        devices=1,
        precision=precision,
        enable_checkpointing=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        callbacks=[*averages.values(), watch],
    )
    trainer.fit(model, datamodule=data)
    sizes = {split: len(images.labels) for split, images in data.splits.items()}
    epochs = {name: {key: " ".join(f"{row[key]:g}" for row in rows) for key in rows[0]} for name, rows in watch.rows.items()}
    run = {"recipe": recipe, "seed": seed, "commit": measured_commit(), "precision": precision, "images": sizes}
    return run | {"seconds": round(time.perf_counter() - began, 1), "epochs": epochs}


def choose(rows: Sequence[dict[str, float]], choice: str) -> dict[str, float]:
    """The epoch that a rule takes, the last of equal ones."""
    if choice == "acc, then loss":
        return max(reversed(rows), key=lambda row: (row["val/acc"], -row["val/loss"]))
    row = best_row(rows, choice if choice == "last" else f"val/{choice}")
    assert row is not None
    return row


def rows_of(run: dict[str, Any], weights: str) -> list[dict[str, float]]:
    """Metrics of each epoch."""
    columns = {key: [float(value) for value in text.split()] for key, text in run["epochs"][weights].items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def accuracies(run: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Held-out accuracy of the weights that each rule takes, and how far it is below the best epoch of these weights."""
    results = {}
    for weights in run["epochs"]:
        rows = rows_of(run, weights)
        highest = max(row["held_out/acc"] for row in rows)
        for choice in CHOICES:
            own = choose(rows, choice)["held_out/acc"]
            results[f"{weights}: {choice}"] = own, highest - own
    return results


def summarise(runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Mean held-out accuracy of each rule, by recipe and over all recipes, in % with intervals over the seeds."""
    by_recipe: dict[str, dict[int, dict[str, tuple[float, float]]]] = {}
    for run in runs:
        by_recipe.setdefault(run["recipe"], {})[run["seed"]] = accuracies(run)
    summary: dict[str, Any] = {}
    for recipe, by_seed in by_recipe.items():
        if len(by_seed) > 1:
            summary[recipe] = compare(list(by_seed.values()))
    common = set.intersection(*(set(by_seed) for by_seed in by_recipe.values())) if by_recipe else set()
    if len(common) > 1 and len(by_recipe) > 1:
        rules = set.intersection(*(set(one) for by_seed in by_recipe.values() for one in by_seed.values()))
        means = [
            {
                rule: tuple(np.mean([by_seed[seed][rule] for by_seed in by_recipe.values()], axis=0).tolist())
                for rule in sorted(rules)
            }
            for seed in sorted(common)
        ]
        summary["all"] = compare(means)
    return summary


def compare(seeds: Sequence[dict[str, tuple[float, float]]]) -> dict[str, Any]:
    """Every rule beside the usual one, the most accurate first."""
    usual = [one[USUAL][0] for one in seeds]
    rules = {}
    for rule in set.intersection(*map(set, seeds)):
        own = [one[rule][0] for one in seeds]
        rules[rule] = {
            "accuracy": percent(mean_interval(own)),
            "lowest": round(100 * min(own), 2),
            "above the usual rule": percent(paired_difference(usual, own)),
            "below the best epoch": round(100 * statistics.mean(one[rule][1] for one in seeds), 3),
        }
    ordered = sorted(rules, key=lambda rule: (-rules[rule]["accuracy"][0], rule))
    return {"seeds": len(seeds), "rules": {rule: rules[rule] for rule in ordered}}


def percent(interval: Interval) -> list[float]:
    """Mean, lower and upper end in %."""
    return [round(100 * value, 3) for value in (interval.value, interval.low, interval.high)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, action="append", help="measure this recipe alone; may be repeated")
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS, help=f"number of seeds, from 0 (default: {NUM_SEEDS})")
    parser.add_argument("--workers", type=int, default=1, help="trainings at the same time, each in one thread (default: 1)")
    parser.add_argument("--copied", action="store_true", help="also averages with the current statistics of BatchNorm")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write, and to resume from")
    options = parser.parse_args()
    if options.seeds < 1 or options.workers < 1:
        parser.error("--seeds and --workers must be at least 1")
    runs: list[dict[str, Any]] = read_object(options.output)["runs"] if options.output.is_file() else []
    commit = measured_commit()
    if other := next((run["commit"] for run in runs if run["commit"] != commit), None):
        parser.error(f"{options.output} was measured with commit {other}, this is {commit}: name another --output")
    done = {(run["recipe"], run["seed"]) for run in runs}
    recipes = [recipe for recipe in RECIPES if recipe in (options.recipe or RECIPES)]
    left = [(recipe, seed) for recipe in recipes for seed in range(options.seeds) if (recipe, seed) not in done]
    command = ["python", "experiments/results/checkpoint_rule.py", *without_folders(sys.argv[1:])]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(train, recipe, seed, options.copied) for recipe, seed in left]):
            run = future.result()
            runs.append(run)
            runs.sort(key=lambda one: (RECIPES.index(one["recipe"]), one["seed"]))
            content = {"environment": describe_machine(), "command": command, "rules": summarise(runs), "runs": runs}
            write_object(options.output, content)
            print(f"{run['recipe']}, seed {run['seed']}: {run['seconds']} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
