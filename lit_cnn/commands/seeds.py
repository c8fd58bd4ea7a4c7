"""``lit-cnn fit --seeds``: trains a recipe once for each seed, and says how much the seeds differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lit_cnn.analysis.images import accuracy_interval
from lit_cnn.analysis.statistics import mean_interval
from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.messages import FAILED, in_one_line, quiet
from lit_cnn.commands.resuming import warn
from lit_cnn.commands.seed_options import read_seeds
from lit_cnn.commands.study import Study, telling_how_to_resume
from lit_cnn.commands.tables import print_table
from lit_cnn.data.sharing import sharing_images
from lit_cnn.errors import TrainingError
from lit_cnn.runs.folder import Run
from lit_cnn.system.memory import keep_freed_memory

TITLES = {"val": "validation accuracy", "test": "test accuracy"}


def main(arguments: list[str]) -> int:
    """Trains once for each seed and returns the exit status: 1 if a training has diverged.

    The same command skips the runs that are finished or have diverged, and resumes those that were stopped.
    """
    quiet()
    keep_freed_memory()
    options = Arguments(arguments[1:])
    seeds = read_seeds(options.last("--seeds") or "")
    options.remove("--seeds")
    diverged: list[int] = []
    with sharing_images():
        study = Study(options, seeds)
        study.check_runs()
        with telling_how_to_resume():
            for number, seed in enumerate(seeds, 1):
                if not _train(study, seed, f"seed {seed} ({number} of {len(seeds)})"):
                    diverged.append(seed)
    print_study({seed: study.run_of(seed) for seed in seeds}, study.folder, diverged)
    if diverged:
        warn(f"{len(diverged)} of {len(seeds)} seeds diverged: {', '.join(map(str, diverged))}")
    return FAILED if diverged else 0


def _train(study: Study, seed: int, title: str) -> bool:
    """Trains what is left to train with a seed; returns whether the training came to its end, now or earlier."""
    run = study.run_of(seed)
    if reason := run.diverged:
        print(f"{title}: diverged earlier, {run.path}", flush=True)
        warn(f"seed {seed}: {reason}; to train it again, remove {run.path}")
        return False
    if study.is_finished(seed):
        print(f"{title}: finished already, {run.path}", flush=True)
        return True
    print(f"\n{title}", flush=True)
    try:
        study.train(seed)
    except TrainingError as error:
        warn(f"seed {seed}: {in_one_line(str(error))}")
        return False
    return True


# Results


def print_study(runs: Mapping[int, Run], folder: Path, diverged: Sequence[int] = ()) -> None:
    """Prints the accuracies of each seed, their mean, standard deviation and interval.

    Args:
        runs: The run of each seed.
        folder: Their folder.
        diverged: The seeds whose training diverged; their accuracies are those of no finished training.
    """
    results = {seed: {} if seed in diverged else run.read_results() for seed, run in runs.items()}
    shown = {split: title for split, title in TITLES.items() if any(f"{split}/acc" in of for of in results.values())}
    titles = list(shown.values()) or [TITLES["val"]]
    rows = []
    for seed, of in results.items():
        cells = [f"{of[key]:.2%}" if key in of else "-" for key in (f"{split}/acc" for split in shown)] or ["-"]
        rows.append((str(seed), *(["diverged", *cells[1:]] if seed in diverged else cells)))
    print()
    if rows:
        print_table(("seed", *titles), rows, right=("seed", *titles))
        print()
    finished = [run for seed, run in runs.items() if seed not in diverged]
    lost = f"; of {len(runs)} seeds, {len(diverged)} diverged" if diverged else ""
    facts = [(title, describe_accuracies(finished, split) + lost) for split, title in shown.items()]
    print_table(("", ""), [*facts, ("folder of the runs", str(folder))])


def describe_accuracies(runs: Sequence[Run], split: str) -> str:
    """Mean, standard deviation and interval over seeds; of one seed, the interval over images."""
    key = f"{split}/acc"
    known = [(results[key], run) for run in runs if key in (results := run.read_results())]
    accuracies = [accuracy for accuracy, _ in known]
    if len(known) > 1:
        interval = mean_interval(accuracies)
        ends = f"95 % interval {max(interval.low, 0):.2%} to {min(interval.high, 1):.2%}"  # Student's t knows no bounds
        return f"{interval.value:.2%} ± {np.std(accuracies, ddof=1):.2%} (mean ± sd of {len(known)} seeds, {ends})"
    ((accuracy, run),) = known
    try:
        predictions = run.read_predictions(split)
    except ValueError:  # a validation of some images, or a full disk
        return f"{accuracy:.2%} (one seed)"
    interval, images = accuracy_interval(predictions), f"{len(predictions):,} images"
    return f"{accuracy:.2%} (one seed, 95 % interval over {images} {interval.low:.2%} to {interval.high:.2%})"
