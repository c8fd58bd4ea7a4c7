"""The report of a run: all that is known of it, on one page."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from markupsafe import Markup

from lit_cnn.analysis import page, pictures, run_plots, summary
from lit_cnn.analysis.class_table import ClassRow, confusions, rows_of_classes, share_of
from lit_cnn.analysis.confidence_section import confidence_section
from lit_cnn.analysis.facts import NOUNS, RunFacts, Scored, scored_images
from lit_cnn.analysis.page import Section
from lit_cnn.analysis.run_images import images_of
from lit_cnn.data.loader import Images
from lit_cnn.inference.calibration import Reliability, reliability
from lit_cnn.inference.loading import load_run
from lit_cnn.inference.trained import Trained
from lit_cnn.network.counting import Layer, list_layers
from lit_cnn.runs.folder import Run
from lit_cnn.runs.predictions import RunPredictions
from lit_cnn.system.paths import quoted

# Up to so many classes, a confusion matrix is a table; up to the second number, a picture.
MAX_TABLED = 30
MAX_PICTURED = 1000
# So many classes are listed; of more, those with the lowest recall.
MAX_LISTED = 200
NUM_CONFUSIONS = 10
NUM_LOOKS = 50
BLUE = (28, 102, 173)
MAX_IMAGES = 50


def write_report(run: Run, num_images: int = 12) -> str:
    """The page of a run.

    A part whose input is missing is one sentence, which says why. Test images are shown only if the run was tested, and
    nothing is evaluated anew.

    Args:
        run: The run; it need not be finished.
        num_images: How many of the worst and of the most uncertain images are shown.

    Raises:
        ValueError: If a file of the run is damaged, or the number is out of its range.
    """
    if not 0 <= num_images <= MAX_IMAGES:
        raise ValueError(f"the number of images must be from 0 to {MAX_IMAGES}, got {num_images}")
    return _Report(RunFacts.read(run), num_images).render()


class _Report:
    """What the page needs, each read once."""

    def __init__(self, facts: RunFacts, num_images: int) -> None:
        self.facts = facts
        self.num_images = num_images

    # Input

    @cached_property
    def scored(self) -> Scored:
        return scored_images(self.facts)

    @cached_property
    def predictions(self) -> RunPredictions:
        found = self.scored.predictions
        return self.facts.run.read_predictions("val") if found is None else found  # which names the command

    @cached_property
    def images(self) -> Images:
        return images_of(self.facts.run, self.scored.split, self.predictions)

    @cached_property
    def trained(self) -> Trained:
        if self.facts.run.checkpoint is None:
            raise ValueError(f"there is no checkpoint: lit-cnn resume {quoted(self.facts.run.path)} trains on and saves one")
        try:
            return load_run(self.facts.run.path, device="cpu")
        except (OSError, RuntimeError) as error:
            raise ValueError(f"the checkpoint cannot be read ({error})") from error

    @cached_property
    def class_rows(self) -> list[ClassRow]:
        return rows_of_classes(self.scored.confusion, self.scored.class_names)

    @cached_property
    def reliability(self) -> Reliability:
        return reliability(self.predictions.probabilities, self.predictions.labels)

    # Page

    def render(self) -> str:
        facts = self.facts
        return page.render(
            "report.html",
            title=f"{facts.variant} on {facts.dataset}",
            subtitle=f"{facts.run.path.name} · {facts.environment.get('time', '')}",
            facts=facts,
            nouns=NOUNS,
            sentences=self.sentences(),
            accuracies=self.accuracies(),
            scored=Section.of(lambda: self.scored),
            curves=Section.of(self.curves),
            confusion=Section.of(self.confusion),
            classes=Section.of(self.classes),
            calibration=Section.of(self.calibration),
            confidence=Section.of(lambda: confidence_section(facts.run)),
            worst=Section.of(lambda: self.show(pictures.worst)),
            uncertain=Section.of(lambda: self.show(pictures.most_uncertain)),
            maps=Section.of(self.maps),
            layers=Section.of(self.layers),
            settings=list(_flat(facts.config)),
            environment=list(_flat({key: value for key, value in facts.environment.items() if key != "earlier"})),
            looks=facts.run.ledger.entries()[-NUM_LOOKS:],
        )

    def sentences(self) -> list[str]:
        facts = self.facts
        made = [lambda: summary.describe_training(facts), lambda: summary.describe_accuracy(facts)]
        made += [lambda: summary.describe_worst_class(self.class_rows, self.scored), self._describe_calibration]
        made += [lambda: summary.describe_fit(facts.rows), lambda: summary.describe_looks(facts)]
        return [section.content for section in map(Section.of, made) if section.content]

    def _describe_calibration(self) -> str:
        accuracy = share_of(int(self.predictions.correct.sum()), len(self.predictions))
        return summary.describe_calibration(self.reliability, accuracy) if accuracy else ""

    def accuracies(self) -> list[tuple[str, Any]]:
        found = ((split, summary.accuracy_of(self.facts, split)) for split in ("test", "val"))
        return [(NOUNS[split], interval) for split, interval in found if interval]

    def curves(self) -> list[Markup]:
        if not self.facts.rows:
            raise ValueError(
                f"no epoch was finished yet: lit-cnn resume {quoted(self.facts.run.path)} continues the training"
            )
        figures = run_plots.draw_curves(self.facts.rows)
        if not figures:
            raise ValueError(f"{self.facts.run.metrics} has no column that can be drawn: it is damaged")
        return [page.svg(figure, f"{title} by epoch") for title, figure in figures]

    def confusion(self) -> dict[str, Any]:
        confusion, names = self.scored.confusion, self.scored.class_names
        shares = confusion / confusion.sum(axis=1, keepdims=True).clip(min=1)
        mistakes = [(names[row], names[column], count) for row, column, count in confusions(confusion, NUM_CONFUSIONS)]
        table = image = None
        if len(names) <= MAX_TABLED:
            table = [
                (name, list(zip(*rows, strict=True)))
                for name, *rows in zip(names, confusion.tolist(), shares.tolist(), strict=True)
            ]
        elif len(names) <= MAX_PICTURED:
            opacity = (255 * np.sqrt(shares)).round()  # roots, so that rare mistakes are seen
            image = page.picture(np.dstack([np.broadcast_to(BLUE, (*shares.shape, 3)), opacity]).astype(np.uint8))
        return {"table": table, "image": image, "mistakes": mistakes, "names": names}

    def classes(self) -> list[ClassRow]:
        if len(self.class_rows) <= MAX_LISTED:
            return self.class_rows
        return sorted(self.class_rows, key=lambda row: row.recall.value if row.recall else 2.0)[:MAX_LISTED]

    def calibration(self) -> dict[str, Any]:
        found = self.reliability
        return {"figure": page.svg(run_plots.draw_reliability(found), "reliability diagram"), "found": found}

    def show(self, choose: Callable[[RunPredictions, int], np.ndarray]) -> list[pictures.Shown]:
        return pictures.show(self.predictions, self.images, choose(self.predictions, self.num_images))

    def maps(self) -> pictures.Maps:
        trained = self.trained
        centre = trained.preprocessing.image_size if trained.preprocessing.resize_size else None
        return pictures.map_classes(trained.network, trained.preprocess, self.predictions, self.images, centre)

    def layers(self) -> list[Layer]:
        size = self.trained.preprocessing.image_size
        return list_layers(self.trained.network, torch.zeros(1, self.trained.channels, size, size))


def _flat(settings: Any, name: str = "") -> Any:
    """Settings with their whole names, without those that are not given."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from _flat(value, name if key == "init_args" else f"{name}.{key}" if name else str(key))
    elif settings not in (None, [], ""):
        yield name, str(settings)
