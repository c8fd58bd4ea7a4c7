"""The design of a study: recipe, arms, search of rates, measures, and the questions that decide."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

# Measures that need no training of their own: of each arm's network, and of the accuracies over a grid of rates.
OF_ARMS = ("parameters", "multiply_adds", "memory", "images_per_s")
OF_SWEEPS = ("largest_stable_rate",)
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
        margin: A smaller effect than this counts as none: then ``above`` and ``below`` are refuted.
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


@dataclass(frozen=True)
class Tuning:
    """How the learning rate of each arm is chosen: on the validation images, with seeds that are not used later.

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
        stop_at_loss: Training loss at which a training ends, so that arms are measured at an equal loss; None to train to
            the end.
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
    sizes = {"train_images": 500, "val_images": 100, "test_images": 200}
    return replace(study, recipe=recipe, arms=arms, tuning=tuning, seeds=study.seeds[:1], **sizes)
