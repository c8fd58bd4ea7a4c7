"""The row that ``lit-cnn predict`` writes for an image. Imports nothing heavy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lit_cnn.commands.row_files import BETWEEN, Column

if TYPE_CHECKING:
    from lit_cnn.inference.predict import Prediction

# What stands for the class of an image whose probability is too low.
UNSURE = "unsure"


@dataclass(frozen=True)
class PredictionRows:
    """The columns, and the cells of each image.

    Args:
        class_names: Name of each output of the network.
        top_k: So many of the most probable classes, or all if there are fewer.
        all_classes: Whether each class has a column with its probability.
        min_confidence: Probability below which the class is :data:`UNSURE`; the column ``likeliest`` then names the most
            probable class of every image.
        has_labels: Whether there is a column for the labels of the images.
        has_sets: Whether there is a column with the prediction set of each image, the likeliest class first.

    Raises:
        ValueError: If a number is out of range, or a class has the name :data:`UNSURE`, or :data:`BETWEEN` in its name.
    """

    class_names: tuple[str, ...]
    top_k: int = 1
    all_classes: bool = False
    min_confidence: float | None = None
    has_labels: bool = False
    has_sets: bool = False

    def __post_init__(self) -> None:
        if self.min_confidence is not None and UNSURE in self.class_names:
            raise ValueError(
                f"the network has a class {UNSURE}, which --min_confidence would not tell from doubt: "
                "leave it out, and compare the column probability"
            )
        if self.has_sets and (joined := next((name for name in self.class_names if BETWEEN in name), None)):
            raise ValueError(
                f"the class {joined!r} has {BETWEEN!r} in its name, which separates the classes in the column set_90: "
                "leave out --calibrated"
            )

    def columns(self) -> list[Column]:
        """Titles and contents."""
        columns = [Column("file"), Column("class"), Column("probability", "number")]
        if self.min_confidence is not None:
            columns.append(Column("likeliest"))
        for rank in range(2, min(self.top_k, len(self.class_names)) + 1):
            columns += [Column(f"class_{rank}"), Column(f"probability_{rank}", "number")]
        if self.has_sets:
            columns.append(Column("set_90", "texts"))
        if self.has_labels:
            columns.append(Column("label"))
        if self.all_classes:
            columns += [Column(f"p_{name}", "number") for name in unique_names(self.class_names)]
        return columns

    def is_unsure(self, prediction: Prediction) -> bool:
        """Whether the probability of the class is too low."""
        return self.min_confidence is not None and prediction.probability < self.min_confidence

    def row(self, prediction: Prediction, label: str | None) -> list[Any]:
        """A cell for each of :meth:`columns`."""
        order = (-prediction.values).argsort(kind="stable")[: self.top_k]
        first, *others = [(self.class_names[place], prediction.values[place]) for place in order]
        cells: list[Any] = [str(prediction.file), UNSURE if self.is_unsure(prediction) else first[0], first[1]]
        if self.min_confidence is not None:
            cells.append(first[0])
        for name, value in others:
            cells += [name, value]
        if self.has_sets:
            cells.append(list(prediction.likely or ()))
        if self.has_labels:
            cells.append(label)
        return [*cells, *prediction.values] if self.all_classes else cells


def check_numbers(top_k: int, min_confidence: float | None) -> None:
    """Checks options before anything heavy is imported.

    Raises:
        ValueError: If a number is out of range.
    """
    if top_k < 1:
        raise ValueError(f"--top_k must be at least 1, got {top_k}")
    if min_confidence is not None and not 0 < min_confidence <= 1:
        raise ValueError(f"--min_confidence is a probability above 0 and up to 1, got {min_confidence}")


def unique_names(class_names: Sequence[str]) -> list[str]:
    """Names that differ: where two classes share one, as in ImageNet, the number of the class follows, counted from 0."""
    counts = Counter(class_names)
    names = [name if counts[name] == 1 else f"{name} #{place}" for place, name in enumerate(class_names)]
    if len(set(names)) < len(names):  # a class may be called so
        return [f"{name} #{place}" for place, name in enumerate(class_names)]
    return names
