"""The page of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup
from matplotlib.figure import Figure

from lit_cnn.analysis import compare_plots, page
from lit_cnn.analysis import compare_tables as tables
from lit_cnn.analysis.arms import Arm
from lit_cnn.analysis.comparison import Comparison
from lit_cnn.analysis.disagreements import Shown, find_disagreements, show
from lit_cnn.analysis.facts import NOUNS
from lit_cnn.analysis.page import Section
from lit_cnn.analysis.pairs import PairSummary
from lit_cnn.analysis.run_images import images_of
from lit_cnn.analysis.table import Table
from lit_cnn.data.loader import Images
from lit_cnn.data.splits import Split

# Columns of the name of an arm in figures and tables.
NAME_WIDTH = 26
# So many images are shown for each arm that alone recognises them.
NUM_IMAGES = 8
# Of more pairs, the images of so many are shown.
MAX_PAIRS = 6


@dataclass(frozen=True)
class Side:
    """Images that one arm recognises and the other does not.

    Args:
        right: Name of the arm that recognises them.
        wrong: Name of the other.
        num_images: Number of all such images.
        shown: Some of them.
    """

    right: str
    wrong: str
    num_images: int
    shown: list[Shown]


def write_comparison(arms: Sequence[Arm], comparison: Comparison) -> str:
    """The page of a comparison.

    Args:
        arms: As they were read.
        comparison: What :func:`lit_cnn.analysis.comparison.compare` found.
    """
    full = [arm.name for arm in comparison.arms]
    names = tables.name_arms(full, NAME_WIDTH)
    split: Split = "test" if comparison.split == "test" else "val"
    noun, dataset = NOUNS[split], arms[0].runs[0].environment.get("dataset")
    pictured = _Images(arms, split)
    return page.render(
        "compare.html",
        title=" and ".join(names.values()) if len(full) == 2 else f"{len(full)} arms compared",
        subtitle=f"{comparison.measure.title} on the {noun} images of {dataset}; the baseline is {names[full[0]]}",
        comparison=comparison,
        names=names,
        noun=noun,
        arms=_all([tables.tabulate_arms, tables.tabulate_spread], comparison, names),
        pairs_of_arms=_all([tables.tabulate_pairs, tables.tabulate_images], comparison, names),
        budgets=tables.tabulate_budgets(comparison, names),
        settings=_settings(comparison, names),
        runs=_runs(arms, comparison, names),
        forest=_svg(compare_plots.draw_differences(comparison, names), "differences with their intervals"),
        values=_svg(compare_plots.draw_arms(comparison, names), "values of each arm by seed"),
        costs=[page.svg(figure, f"value against {title}") for title, figure in compare_plots.draw_costs(comparison, names)],
        curves=[page.svg(figure, f"{title} by epoch") for title, figure in compare_plots.draw_curves(arms, names)],
        images=[(pair, Section.of(partial(pictured.of, pair))) for pair in comparison.pairs[:MAX_PAIRS]],
    )


class _Images:
    """Images on which arms disagree; those of a run are read once."""

    def __init__(self, arms: Sequence[Arm], split: Split) -> None:
        self.arms = {arm.name: arm for arm in arms}
        self.split = split
        self.read: dict[str, Images] = {}

    def of(self, pair: PairSummary) -> list[Side]:
        one, other = self.arms[pair.first], self.arms[pair.second]
        found = find_disagreements(one, other, self.split)
        sides = []
        for (right, wrong), side in zip(((one, other), (other, one)), found, strict=True):
            shown = show(side[:NUM_IMAGES], self._images(one)) if side else []
            sides.append(Side(right.name, wrong.name, len(side), shown))
        return sides

    def _images(self, arm: Arm) -> Images:
        if arm.name not in self.read:
            run = arm.runs[0]
            self.read[arm.name] = images_of(run.run, self.split, run.predictions(self.split))
        return self.read[arm.name]


def _all(
    made: Iterable[Callable[[Comparison, tables.Names], Table | None]], comparison: Comparison, names: tables.Names
) -> list[Table]:
    return [table for tabulate in made if (table := tabulate(comparison, names))]


def _svg(figure: Figure | None, title: str) -> Markup | None:
    return None if figure is None else page.svg(figure, title)


def _settings(comparison: Comparison, names: tables.Names) -> Table | None:
    """Values of the settings in which arms differ."""
    differences = comparison.fairness.differences
    rows = [(difference.setting, *difference.values) for difference in differences]
    return Table(("setting", *(names[arm.name] for arm in comparison.arms)), rows) if rows else None


def _runs(arms: Sequence[Arm], comparison: Comparison, names: tables.Names) -> Table:
    """Seed, value and folder of each run."""
    rows = [
        (names[arm.name], seed, comparison.measure.show(value), run.path)
        for arm, found in zip(arms, comparison.arms, strict=True)
        for run, seed, value in zip(arm.runs, found.seeds, found.values, strict=True)
    ]
    return Table(("arm", "seed", comparison.measure.title, "folder"), rows, ("seed", comparison.measure.title))
