"""Accuracy of recipes: each is trained with several seeds, each time by ``lit-cnn fit`` in a process of its own."""

from __future__ import annotations

import tempfile
import uuid
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
import yaml

from lit_cnn import data as datasets
from lit_cnn.analysis.provenance import DIRTY, Report, measured_commit, processor_name, save
from lit_cnn.benchmark.leaderboard import digest_of_recipe
from lit_cnn.benchmark.process import run_lit_cnn
from lit_cnn.data.manifest import FILE_NAME as MANIFEST
from lit_cnn.data.names import find_dataset
from lit_cnn.inference.loading import load_run
from lit_cnn.network.counting import count_multiply_adds, count_parameters
from lit_cnn.runs.folder import Run
from lit_cnn.runs.results import leaves_batches_out
from lit_cnn.system.json_files import read_object
from lit_cnn.system.locks import alone

RECIPES = "experiments/digits"
# Copied from results.json of each run.
RESULTS = (
    "test/acc",
    "test/acc_low",
    "test/acc_high",
    "test/images",
    "test/digest",
    "val/acc",
    "seconds",
    "train/images_per_s",
)


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
        _check_evaluations(path)
    current = Path.cwd()
    return [path.relative_to(current) if path.is_relative_to(current) else path for path in paths]


def _check_evaluations(recipe: Path) -> None:
    """Raises a ValueError if a recipe would leave no validation and test of all images."""
    trainer = _read(recipe).get("trainer") or {}
    for name in ("limit_val_batches", "limit_test_batches"):
        if leaves_batches_out(trainer.get(name)) or trainer.get(name) == 0:
            raise ValueError(f"{recipe} has trainer.{name}={trainer[name]}, but is measured with all images")
    if trainer.get("enable_checkpointing") is False:
        raise ValueError(f"{recipe} has trainer.enable_checkpointing=false: recipes test their best checkpoint")


def run_recipe(
    recipe: Path, seed: int, device: str, data_dir: str | None, epochs: int | None, runs_dir: str | None = None
) -> dict[str, Any]:
    """Trains and tests once.

    Args:
        recipe: A configuration of ``lit-cnn fit``.
        seed: Of everything.
        device: ``cpu`` or ``cuda``.
        data_dir: Where the dataset's files are; None for the recipe's own. Datasets without files ignore it. If the recipe
            names a folder or an archive, it is that of the same name in this folder, or this itself if there is none.
        epochs: In place of the recipe's.
        runs_dir: Where the folder of the run stays; None for a temporary folder.
    Returns:
        Test accuracy with its 95 % interval, validation accuracy, seconds, images per second, epochs, precision, threads,
        instructions of the processor, parameters, and multiply-adds of an image.
    """
    run_name = f"{recipe.stem}-seed{seed}-{uuid.uuid4().hex[:6]}"
    with nullcontext(runs_dir) if runs_dir else tempfile.TemporaryDirectory() as folder:
        options = ["--seed_everything", str(seed), "--test_after_fit", "--runs_dir", folder, "--name", run_name]
        options += ["--trainer.accelerator", "cpu" if device == "cpu" else "gpu", "--trainer.devices", "1"]
        options += ["--trainer.max_epochs", str(epochs)] if epochs else []
        options += _data_options(recipe, data_dir)
        run_lit_cnn("fit", "--config", str(recipe), *options)
        (run,) = (Run(path.parent) for path in Path(folder).glob(f"**/{run_name}/results.json"))
        results, environment = run.read_results(), run.read_environment()
        return {
            **{name: results[name] for name in RESULTS},
            "data/digest": read_object(run.path / MANIFEST)["digest"],
            "epochs": len(run.read_metrics()),
            **{name: environment[name] for name in ("precision", "threads", "cpu")},
            **_count(run),
        }


def _data_options(recipe: Path, data_dir: str | None) -> list[str]:
    """The option that finds the files of a recipe's data in a folder."""
    data = _read(recipe)["data"]
    name, arguments = (data["class_path"], data.get("init_args") or {}) if isinstance(data, dict) else (data, {})
    found = find_dataset(name.rpartition(".")[2] if name.startswith("lit_cnn.") else name)
    if not data_dir or getattr(datasets, found.class_name).source_without_files is not None:
        return []
    own = arguments.get("data_dir") or found.data_dir
    named = Path(data_dir, Path(own).name) if own else Path(data_dir)
    return ["--data.data_dir", str(named if named.exists() else data_dir)]


def _read(recipe: Path) -> dict[str, Any]:
    """The settings of a recipe.

    Raises:
        ValueError: If they name no model or no data.
    """
    try:
        settings = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{recipe} is not a YAML file ({error})") from error
    for group in ("model", "data"):
        given = settings.get(group) if isinstance(settings, dict) else None
        if not isinstance(given.get("class_path") if isinstance(given, dict) else given, str):
            raise ValueError(f"{recipe} is no recipe: {group} names no class")
    return settings


def _count(run: Run) -> dict[str, int]:
    trained = load_run(run.path, device="cpu")
    size = trained.preprocessing.image_size
    image = torch.zeros(1, trained.channels, size, size)
    return {
        "parameters": count_parameters(trained.network),
        "multiply_adds": count_multiply_adds(trained.network, image),
    }


def _plan(recipes: list[Path], output: str | None) -> list[tuple[Path, str | None]]:
    """The file of results of each recipe: the output itself, or ``<dataset>/<recipe>.json`` in a folder.

    Raises:
        ValueError: If two recipes would have the same file in a folder.
    """
    if output is None or not Path(output).is_dir():
        return [(recipe, output) for recipe in recipes]
    files: dict[Path, Path] = {}
    for recipe in recipes:
        file = Path(output) / recipe.absolute().parent.name / f"{recipe.stem}.json"
        if file in files:
            raise ValueError(f"{files[file]} and {recipe} would both have the results {file}: measure one of them")
        files[file] = recipe
    return [(recipe, file.as_posix()) for file, recipe in files.items()]


def measure_recipes(
    recipes: list[Path],
    num_seeds: int,
    report: Report,
    output: str | None = None,
    device: str = "cpu",
    data_dir: str | None = None,
    epochs: int | None = None,
    runs_dir: str | None = None,
) -> list[dict[str, Any]]:
    """Trains each recipe with the seeds 0, 1, …; saves after each run, and skips runs that the output holds.

    Returns:
        All runs, those that the output held among them: the results of :func:`run_recipe` with the recipe, the seed, the
        digest of its settings, the commit, torch's version, the processor, the device, and under ``epochs_given`` the
        epochs in place of the recipe's.
    Raises:
        ValueError: If an output holds runs of another commit, processor, device or version of torch, or of the recipe with
            other settings or images, or another process measures into it.
    """
    plan = _plan(recipes, output)
    versions = {"commit": measured_commit(), "torch": torch.__version__}
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    source = {**versions, "processor": processor_name(), "device": device, "gpu": gpu}
    with ExitStack() as held:
        for file in {Path(file) for _, file in plan if file}:
            file.parent.mkdir(parents=True, exist_ok=True)
            busy = f"another process measures into {file}: wait until it has ended, or name another --output"
            held.enter_context(alone(file.with_suffix(".lock"), busy))
        earlier = {file: _earlier(file, source) for _, file in plan}
        digests = {recipe: digest_of_recipe(_read(recipe)) for recipe, _ in plan}
        for recipe, file in plan:
            _check_digest(earlier[file]["runs"], recipe, digests[recipe], file)
        for recipe, file in plan:
            runs, commands = earlier[file]["runs"], earlier[file]["earlier_commands"]
            for seed in range(num_seeds):
                label = f"{recipe.as_posix()}, seed {seed}"
                settings = {"recipe": recipe.as_posix(), "seed": seed, "epochs_given": epochs}
                if any(settings.items() <= run.items() for run in runs):
                    report(f"{label}: already in {file}")
                    continue
                results = run_recipe(recipe, seed, device, data_dir, epochs, runs_dir)
                _check_images(runs, recipe, results, file)
                runs.append({**settings, "recipe_digest": digests[recipe], **results, **source})
                save(file, earlier_commands=commands, runs=runs)
                report(f"{label}: test accuracy {runs[-1]['test/acc']:.2%}, {runs[-1]['seconds']:,.0f} s")
        return [run for content in earlier.values() for run in content["runs"]]


def _check_digest(runs: list[dict[str, Any]], recipe: Path, digest: str, file: str | None) -> None:
    """Raises a ValueError if runs of a recipe were trained with other settings."""
    own = (run for run in runs if run["recipe"] == recipe.as_posix())
    if any(run.get("recipe_digest", digest) != digest for run in own):
        raise ValueError(f"{file} holds runs of {recipe.as_posix()} before its settings changed: remove the file")


def _check_images(runs: list[dict[str, Any]], recipe: Path, results: dict[str, Any], file: str | None) -> None:
    """Raises a ValueError if runs of a recipe had other images."""
    own = [run for run in runs if run["recipe"] == recipe.as_posix()]
    for name in ("data/digest", "test/digest"):
        if any(run.get(name, results.get(name)) != results.get(name) for run in own):
            raise ValueError(
                f"{file or 'this measurement'} holds runs of {recipe.as_posix()} on other images: name another --output"
            )


def _earlier(output: str | None, source: dict[str, Any]) -> dict[str, Any]:
    """The runs that the output holds, and the commands that measured them."""
    if not output or not Path(output).is_file():
        return {"runs": [], "earlier_commands": []}
    content = read_object(Path(output))
    if "runs" not in content:
        raise ValueError(f"{output} holds no runs of recipes: name another --output")
    for run in content["runs"]:
        for name, value in source.items():
            if run.get(name, value) != value:
                raise ValueError(f"{output} holds runs of {name} {run[name]}, this is {value}: name another --output")
    if (source["commit"] or "").endswith(DIRTY):
        raise ValueError(f"{output} cannot be resumed, for the code has uncommitted changes: name another --output")
    commands = content["earlier_commands"]
    new = [] if content["command"] in commands else [content["command"]]
    return {"runs": content["runs"], "earlier_commands": commands + new}
