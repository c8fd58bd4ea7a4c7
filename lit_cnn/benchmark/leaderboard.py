"""What the recipes reach, by dataset, beside the figures of others. Imports neither torch nor Lightning."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lit_cnn.benchmark.bands import Band, digest_of_all
from lit_cnn.network.catalogue import default_variants, read_catalogue
from lit_cnn.runs.environment import DIRTY
from lit_cnn.runs.identity import digest_of_settings
from lit_cnn.system.json_files import read_object

EXPERIMENTS = "experiments"
# Folders of experiments without recipes.
_NO_DATASETS = ("claims", "results", "trials")
# A file for each recipe: <dataset>/<recipe>.json.
RESULTS = f"{EXPERIMENTS}/results/recipes"
REFERENCES = f"{EXPERIMENTS}/references.yaml"
NOT_MEASURED = "not yet measured"


@dataclass(frozen=True)
class Measured:
    """What trainings with a recipe reached that differ in the seed alone.

    Args:
        runs: Results of each training, as :func:`lit_cnn.benchmark.recipes.measure_recipes` returns them.
        environment: Of the file of results, for what older results do not have of each training.
    """

    runs: tuple[Mapping[str, Any], ...]
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> str:
        return str(self.runs[0]["recipe"])

    @property
    def epochs_given(self) -> int | None:
        """The epochs in place of the recipe's."""
        return self.runs[0]["epochs_given"]

    @property
    def epochs(self) -> str:
        """The number of epochs, or the lowest and the highest if a training ended early."""
        low, high = (limit(run["epochs"] for run in self.runs) for limit in (min, max))
        return str(low) if low == high else f"{low} to {high}"

    @property
    def precision(self) -> str:
        return str(self.runs[0]["precision"])

    @property
    def seeds(self) -> list[int]:
        return [run["seed"] for run in self.runs]

    @property
    def accuracies(self) -> list[float]:
        return [run["test/acc"] for run in self.runs]

    @property
    def mean(self) -> float:
        return statistics.mean(self.accuracies)

    @property
    def sd(self) -> float | None:
        return statistics.stdev(self.accuracies) if len(self.runs) > 1 else None

    @property
    def val_mean(self) -> float:
        return statistics.mean(run["val/acc"] for run in self.runs)

    @property
    def band(self) -> Band | None:
        """The expected test accuracy of another training; None if the epochs were given, or the seeds are too few."""
        return None if self.epochs_given else Band.around(self.accuracies, self.runs[0]["test/images"])

    @property
    def digest(self) -> str | None:
        """Of all images, the same for every seed; None if a result does not have it."""
        digests = {(run.get("data/digest"), run.get("test/digest")) for run in self.runs}
        (train, test), *others = digests
        return digest_of_all(train, test) if train and test and not others else None

    @property
    def seconds(self) -> float:
        """Median over the seeds."""
        return statistics.median(run["seconds"] for run in self.runs)

    @property
    def images_per_s(self) -> float:
        """Median over the seeds."""
        return statistics.median(run["train/images_per_s"] for run in self.runs)

    @property
    def parameters(self) -> int | None:
        return self.runs[0].get("parameters")

    @property
    def machine(self) -> str:
        """Processor with its threads, and the GPU if it computed."""
        run, others = self.runs[0], self.environment
        name = run.get("processor") or others.get("cpu_name") or "unnamed processor"
        counts = sorted({run.get("threads") or others.get("threads") for run in self.runs})
        processor = f"{name} ({run.get('cpu') or others.get('cpu')}, {' or '.join(map(str, counts))} threads)"
        return f"{processor}, {others['gpu']}" if run.get("device") == "cuda" and others.get("gpu") else processor

    @property
    def provenance(self) -> str:
        """Commit, machine, version of torch and day."""
        commit, version, date = self.runs[0]["commit"], self.runs[0]["torch"], self.environment["time"].partition("T")[0]
        return f"commit {commit[:12]}, {self.machine}, PyTorch {version}, {date}"


def summarise_recipes(runs: Iterable[Mapping[str, Any]], environment: Mapping[str, Any] | None = None) -> list[Measured]:
    """The trainings of each recipe with the same epochs."""
    groups: dict[tuple[str, int | None], list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["recipe"], run["epochs_given"]), []).append(run)
    return [Measured(tuple(sorted(group, key=lambda run: run["seed"])), environment or {}) for group in groups.values()]


@dataclass(frozen=True)
class Recipe:
    """A recipe with its results.

    Args:
        path: From the folder of lit_cnn: ``experiments/digits/lenet.yaml``.
        network: Variant, else the class of the model if it is not one of ours.
        measured: With all epochs, if there is such a measurement, else with others.
        is_outdated: Whether there are results, but of a recipe with other settings.
    """

    path: Path
    network: str
    measured: Measured | None = None
    is_outdated: bool = False

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def is_measured(self) -> bool:
        """Whether there are results with all epochs."""
        return self.measured is not None and not self.measured.epochs_given


@dataclass(frozen=True)
class Reference:
    """A figure of others.

    Args:
        network: As they name it.
        accuracy: On the test images, in percent.
        source: Address or paper.
        remark: How it came about.
        recipe: Name of the recipe that trains this network here.
    """

    network: str
    accuracy: float
    source: str
    remark: str = ""
    recipe: str | None = None


@dataclass(frozen=True)
class Board:
    """The recipes of a dataset, and the figures of others.

    Args:
        name: Folder of experiments.
        title: As people write it.
        recipes: The best first, then those that are not measured.
        references: The best first.
        label: What stands beside each figure, such as ``JPEG copy``.
        note: What a reader must know about the images.
    """

    name: str
    title: str
    recipes: tuple[Recipe, ...]
    references: tuple[Reference, ...] = ()
    label: str | None = None
    note: str = ""

    @property
    def unmeasured(self) -> list[Recipe]:
        return [recipe for recipe in self.recipes if not recipe.is_measured]

    def own(self, reference: Reference) -> Recipe | None:
        """The measured recipe that trains the network of a reference, or the nearest one."""
        same = (recipe for recipe in self.recipes if recipe.name == reference.recipe and recipe.is_measured)
        return next(same, None)


def read_boards(root: Path, dataset: str | None = None) -> list[Board]:
    """The boards of all datasets that have recipes.

    Args:
        root: The folder of lit_cnn.
        dataset: Only this one.
    Raises:
        ValueError: If there are no recipes, no such dataset, or a file of results or references does not fit.
    """
    folders = sorted({path.parent for path in (root / EXPERIMENTS).glob("*/*.yaml")})
    names = [folder.name for folder in folders if folder.name not in _NO_DATASETS]
    if not names:
        raise ValueError(f"there are no recipes in {EXPERIMENTS}/: change to the folder of lit_cnn")
    if dataset is not None and dataset not in names:
        raise ValueError(f"there are no recipes for {dataset!r}; there are some for {', '.join(names)}")
    references = _read_references(root / REFERENCES)
    return [_read_board(root, name, references.get(name, {})) for name in names if dataset in (None, name)]


def _read_board(root: Path, name: str, others: Mapping[str, Any]) -> Board:
    recipes = [_read_recipe(root, path) for path in sorted((root / EXPERIMENTS / name).glob("*.yaml"))]
    for file in sorted((root / RESULTS / name).glob("*.json")):
        if file.stem not in {recipe.name for recipe in recipes}:
            raise ValueError(f"{file.relative_to(root)} has results of no recipe: remove it, or put the recipe back")
    try:
        figures = [Reference(**figure) for figure in others.get("figures") or []]
    except TypeError as error:
        raise ValueError(f"{REFERENCES}, {name}: {error}") from error
    return Board(
        name,
        others.get("title", name),
        tuple(sorted(recipes, key=_rank)),
        tuple(sorted(figures, key=lambda figure: -figure.accuracy)),
        others.get("label"),
        others.get("note", ""),
    )


def _rank(recipe: Recipe) -> float:
    return -recipe.measured.mean if recipe.measured and recipe.is_measured else 1.0


def _read_references(path: Path) -> dict[str, dict[str, Any]]:
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise ValueError(f"{path.name} must have title and figures of each dataset")
    if label := next((label for value in content.values() if set(label := value.get("label", "")) & set("();")), None):
        raise ValueError(f"{path.name}: the label {label!r} must have no brackets and no semicolon")
    return content


def _read_recipe(root: Path, path: Path) -> Recipe:
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    model = settings["model"] if isinstance(settings["model"], dict) else {"class_path": settings["model"]}
    cls = model["class_path"].removeprefix("lit_cnn.models.")
    network = (model.get("init_args") or {}).get("variant") or default_variants(read_catalogue()).get(cls, cls)
    recipe = path.relative_to(root)
    file = root / RESULTS / recipe.parent.name / f"{recipe.stem}.json"
    if not file.is_file():
        return Recipe(recipe, network)
    content = read_object(file)
    commit = content["environment"]["commit"]
    if not commit or commit.endswith(DIRTY):
        raise ValueError(f"{file} was measured on code without a commit ({commit}): commit, and measure again")
    if wrong := next((run["recipe"] for run in content["runs"] if run["recipe"] != recipe.as_posix()), None):
        raise ValueError(f"{file} has results of {wrong}, not of {recipe.as_posix()}: measure this recipe")
    digest = digest_of_recipe(settings)
    runs = [run for run in content["runs"] if run.get("recipe_digest", digest) == digest]
    found = sorted(summarise_recipes(runs, content["environment"]), key=lambda measured: measured.epochs_given or 0)
    return Recipe(recipe, network, found[0] if found else None, is_outdated=len(runs) < len(content["runs"]))


def digest_of_recipe(settings: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of the settings of a recipe that decide what it reaches; its seed is none of them."""
    return digest_of_settings(settings, without="seed_everything")
