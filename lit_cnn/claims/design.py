"""The design of a study: recipe, arms, search of rates, measures, and the questions that decide."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

# Measures that need no training of their own: of each arm's network, and of the accuracies over a grid of rates.
OF_ARMS = ("parameters", "multiply_adds", "memory", "images_per_s")
# Of these, the measures with one value for each round of a timing; the others are counted.
TIMED = ("images_per_s",)
OF_SWEEPS = ("largest_stable_rate",)
# What names of measures begin with whose value, if it never is reached, is the planned number of steps.
STEPS = "steps_"
Scale = Literal["linear", "log"]
Expectation = Literal["above", "below", "within"]


@dataclass(frozen=True)
class Question:
    """One comparison of a claim, decided by an interval.

    The value of a seed is Σ weight · measure over the arms; with the scale ``log``, of the measures' logarithms, so that it
    is a ratio.

    Args:
        text: What is asked, as a statement.
        measure: Name of the measure.
        contrast: Weight of each arm.
        expect: ``above``, ``below`` or ``within`` ± the threshold.
        threshold: In the unit of the measure; with ``log``, a ratio.
        margin: A smaller effect than this counts as none: ``above`` and ``below`` are refuted if the effect is shown to be
            smaller, even if it is shown to be there.
        scale: ``linear`` or ``log``.
        decides: Whether the verdict on the claim depends on it; otherwise it is only reported.
    """

    text: str
    measure: str
    contrast: Mapping[str, float]
    expect: Expectation
    threshold: float
    margin: float = 0.0
    scale: Scale = "linear"
    decides: bool = True

    @property
    def unit(self) -> str:
        """What the value of a seed is."""
        if self.scale == "log":
            return "ratio"
        return "difference" if len(self.contrast) > 1 else "value"


@dataclass(frozen=True)
class Tuning:
    """How the learning rate of each arm is chosen: with seeds that are not used later, and never on test images.

    The measure is of the validation images, or the number of training steps that the study counts.

    Args:
        rates: The grid, equal for all arms.
        seeds: Seeds of the search.
        measure: Name of the measure by which a rate is chosen.
        highest: Whether the highest value is the best.
    """

    rates: Sequence[float]
    seeds: Sequence[int]
    measure: str = "val_accuracy"
    highest: bool = True


@dataclass(frozen=True)
class Study:
    """An experiment that decides a claim.

    Args:
        recipe: Settings as ``lit-cnn fit`` takes them: ``model`` and ``data`` with ``class_path`` and ``init_args``, and
            ``trainer``.
        arms: For each arm, the settings that it changes, by the names that are typed: ``model.norm``.
        tuning: Search of the rates.
        seeds: Of the study; each is used in every arm, so that arms are compared in pairs.
        measures: For each name, ``measure`` (see :mod:`lit_cnn.claims.measured`) and its arguments.
        questions: What decides.
        train_images: Number of training images; None for all.
        val_images: Number of validation images.
        test_images: Number of test images; None for all.
        stop_at_loss: Training loss at which a training ends, so that arms are measured at an equal loss: one that does not
            reach it has no values. None to train to the end.
        sweep: Whether every rate of the grid is trained with the seeds of the study, for measures over rates.
        budget_minutes: Planned minutes of one processor.
    """

    recipe: Mapping[str, Any]
    arms: Mapping[str, Mapping[str, Any]]
    tuning: Tuning
    seeds: Sequence[int]
    measures: Mapping[str, Mapping[str, Any]]
    questions: Sequence[Question]
    train_images: int | None
    val_images: int
    test_images: int | None
    stop_at_loss: float | None
    sweep: bool
    budget_minutes: float

    def settings(self, arm: str, rate: float) -> dict[str, Any]:
        """The settings of an arm at a learning rate, in the shape of a recipe."""
        settings = copy.deepcopy({group: dict(self.recipe.get(group, {})) for group in ("model", "data", "trainer")})
        changes = {**self.arms[arm], "model.lr": rate}
        for name, value in changes.items():
            group, _, argument = name.partition(".")
            target = settings[group] if group == "trainer" else settings[group].setdefault("init_args", {})
            target[argument] = value
        sizes = {"train_images": self.train_images, "val_images": self.val_images, "test_images": self.test_images}
        return settings | sizes | {"stop_at_loss": self.stop_at_loss}


def shorten(study: Study) -> Study:
    """A study that takes seconds and decides nothing: one rate, one seed, one epoch, few images."""
    recipe = {**study.recipe, "trainer": {**study.recipe.get("trainer", {}), "max_epochs": 1}}
    arms = {
        arm: {key: value for key, value in changes.items() if key != "trainer.max_epochs"}
        for arm, changes in study.arms.items()
    }
    rates = sorted(study.tuning.rates)
    tuning = replace(study.tuning, rates=[rates[(len(rates) - 1) // 2]], seeds=study.tuning.seeds[:1])
    limits = {"train_images": 500, "val_images": 100, "test_images": 200}
    sizes = {name: min(limit, getattr(study, name) or limit) for name, limit in limits.items()}
    return replace(study, recipe=recipe, arms=arms, tuning=tuning, seeds=study.seeds[:1], stop_at_loss=None, **sizes)


# What an arm cannot change, and what decides on it.
DECIDED_ELSEWHERE = {"model.lr": "tuning.rates", "data.seed": "seeds"}


def check_study(study: Study) -> None:
    """Checks what can be checked without images and networks.

    Raises:
        ValueError: If something makes no sense; names its key.
    """
    _check_recipe(study)
    for key, seeds in (("seeds", study.seeds), ("tuning.seeds", study.tuning.seeds)):
        if not seeds or not all(isinstance(seed, int) and seed >= 0 for seed in seeds) or len(set(seeds)) < len(seeds):
            raise ValueError(f"{key}: expected different whole numbers of at least 0, got {seeds}")
    if both := set(study.seeds) & set(study.tuning.seeds):
        raise ValueError(f"the seed {min(both)} tunes the rate and is used in the study: a study needs seeds of its own")
    rates = study.tuning.rates
    if not rates or not all(_is_number(rate) and rate > 0 for rate in rates) or len(set(rates)) < len(rates):
        raise ValueError(f"tuning.rates: expected different numbers above 0, got {rates}")
    for name, measure in study.measures.items():
        if "measure" not in measure:
            raise ValueError(f"measures.{name}: the key measure is missing")
        if study.stop_at_loss is not None and str(measure["measure"]).startswith(STEPS):
            raise ValueError(f"measures.{name}: stop_at_loss may end a training before these steps: leave one of them out")
    if study.tuning.measure not in study.measures:
        raise ValueError(f"tuning: there is no measure {study.tuning.measure}")
    chosen_by = study.measures[study.tuning.measure]
    if not str(chosen_by["measure"]).startswith(STEPS) and chosen_by.get("split") not in ("train", "val"):
        raise ValueError(f"tuning: {study.tuning.measure} must not look at test images; add split: val to it")
    if not any(question.decides for question in study.questions):
        raise ValueError("questions: expected at least one that decides")
    for question in study.questions:
        _check_question(study, question)


def _check_recipe(study: Study) -> None:
    if unknown := study.recipe.keys() - {"model", "data", "trainer"}:
        raise ValueError(f"recipe: unknown key {min(unknown)}; there are model, data and trainer")
    if "class_path" not in study.recipe.get("data", {}):
        raise ValueError("recipe.data: the key class_path is missing")
    for arm, changes in study.arms.items():
        for name in changes:
            if name in DECIDED_ELSEWHERE:
                raise ValueError(f"arms.{arm}: {name} cannot be set, because {DECIDED_ELSEWHERE[name]} decides on it")
            group, _, argument = name.partition(".")
            if group not in ("model", "data", "trainer") or not argument or "." in argument:
                raise ValueError(f"arms.{arm}: expected a setting such as model.norm, got {name}")
    optional = {"train_images": study.train_images, "test_images": study.test_images}
    for key, number in {**optional, "val_images": study.val_images}.items():
        if not (isinstance(number, int) and number > 0) and not (key in optional and number is None):
            raise ValueError(f"{key} must be a whole number of at least 1, got {number!r}")


def _check_question(study: Study, question: Question) -> None:
    text = question.text
    if unknown := set(question.contrast) - set(study.arms):
        raise ValueError(f"{text}: there is no arm {min(unknown)}")
    if not question.contrast or not all(map(_is_number, question.contrast.values())):
        raise ValueError(f"{text}: contrast must give a weight to each arm, got {question.contrast}")
    if question.measure not in study.measures:
        raise ValueError(f"{text}: there is no measure {question.measure}")
    if question.expect not in get_args(Expectation) or question.scale not in get_args(Scale):
        raise ValueError(f"{text}: expect must be above, below or within, scale linear or log")
    if not _is_number(question.threshold) or not _is_number(question.margin):
        raise ValueError(f"{text}: threshold and margin must be numbers")
    if question.margin < 0 or (question.scale == "log" and question.threshold <= 0):
        raise ValueError(f"{text}: a margin is at least 0, a ratio above 0")
    # The logarithm of a ratio is the threshold: 1 would leave no room.
    if question.expect == "within" and question.threshold <= (1 if question.scale == "log" else 0):
        raise ValueError(f"{text}: within needs a threshold above 0; with log, a ratio above 1")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
