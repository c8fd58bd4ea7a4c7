"""Results of a study: one JSON file, written after each cell, from which a stopped study is resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lit_cnn.claims.cells import STUDY, TUNE, Cell
from lit_cnn.claims.curves import WINDOW, largest_stable_rate
from lit_cnn.claims.design import OF_ARMS, OF_SWEEPS, STEPS, TIMED, Question, Study
from lit_cnn.claims.study import RESULTS, Claim
from lit_cnn.claims.tuning import Search, choose_rate
from lit_cnn.claims.verdict import COUNTED, Answer, Verdict, answer, combine
from lit_cnn.system.whole_files import write_whole

# What a finished cell has in the file, besides its curve.
KEYS_OF_CELLS = ("key", "arm", "rate", "seed", "purpose", "values", "steps", "planned", "diverged", "num_classes")


@dataclass
class Results:
    """Content of the file of results.

    Args:
        claim: The claim.
        path: The file.
        digests: Digest of the claim's file at each run, with time and commit.
        sources: Machines, versions and commits that cells were trained with.
        cells: Finished cells: the fields of :class:`Cell`, its ``key``, ``values``, ``curve``, ``seconds``, ``diverged`` and
            ``source``, the number of its source.
        arms: Measures of each arm that need no training.
        facts: Results of the exact check, each with ``text`` and ``holds``.
        verdict: As :meth:`decide` gave it last.
    """

    claim: Claim
    path: Path
    digests: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    arms: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: list[dict[str, Any]] = field(default_factory=list)
    verdict: str = Verdict.OPEN.value

    @classmethod
    def read(cls, experiments: Path, claim: Claim) -> Results:
        """The results of a claim; empty if it was not run.

        Raises:
            ValueError: If the file is damaged.
        """
        results = cls(claim, experiments / RESULTS / f"{claim.path.stem}.json")
        results.reload()
        return results

    def reload(self) -> None:
        """Takes over what the file holds now; leaves all as it is if there is no file.

        Raises:
            ValueError: If the file is damaged.
        """
        if not self.path.is_file():
            return
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError("expected keys and values")
            for key in ("digests", "sources", "facts", "arms", "verdict", "cells"):
                if key not in content:
                    raise ValueError(f"the key {key} is missing")
            for number, cell in enumerate(content["cells"], 1):
                if missing := [key for key in KEYS_OF_CELLS if key not in cell]:
                    raise ValueError(f"cell {number}: the key {missing[0]} is missing")
            for key, parts in (("digests", ("digest",)), ("facts", ("text", "holds"))):
                if any(part not in entry for entry in content[key] for part in parts):
                    raise ValueError(f"{key}: the key {parts[-1]} is missing")
            verdict = Verdict(content["verdict"]).value
        except (ValueError, TypeError) as error:
            text = " ".join(str(error).split())
            raise ValueError(f"{self.path} is damaged ({text}): remove it, and run the claim again") from error
        self.cells = {cell["key"]: cell for cell in content["cells"]}
        self.digests, self.sources, self.facts = content["digests"], content["sources"], content["facts"]
        self.arms, self.verdict = content["arms"], verdict

    def write(self) -> None:
        """Writes the file, whole or not at all.

        Raises:
            OSError: If it cannot be written; names the file.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        head = {"claim": self.claim.number, "command": f"lit-cnn claims run {self.claim.number}", "verdict": self.verdict}
        head |= {"digests": self.digests, "sources": self.sources, "facts": self.facts, "arms": self.arms}
        # A line for each cell, so that changes can be read.
        cells = ",\n".join(f"  {json.dumps(cell)}" for cell in self.cells.values())
        text = json.dumps(head, indent=1)[:-2] + f',\n "cells": [\n{cells}\n ]\n}}\n'
        write_whole(self.path, text)

    # Cells

    @property
    def _study(self) -> Study:
        assert self.claim.study is not None
        return self.claim.study

    def of(self, cells: Iterable[Cell]) -> dict[Cell, dict[str, Any]]:
        """The finished ones of some cells."""
        keyed = {cell: cell.key(self._study) for cell in cells}
        return {cell: self.cells[key] for cell, key in keyed.items() if key in self.cells}

    def tuning_cells(self) -> list[Cell]:
        study = self._study
        return [
            Cell(arm, rate, seed, TUNE) for seed in study.tuning.seeds for rate in study.tuning.rates for arm in study.arms
        ]

    def best_rate(self, arm: str) -> float | None:
        """The tuned rate of an arm; None if the search is not finished, or no rate trains the arm.

        See :func:`lit_cnn.claims.tuning.choose_rate`.
        """
        return self._search(arm)[0]

    def untrained(self, arms: Iterable[str]) -> list[str]:
        """Those of some arms that no rate of the grid trains: with each, a seed of the search diverged or has no value."""
        return [arm for arm in arms if self._search(arm) == (None, True)]

    def search(self, arm: str) -> Search:
        """The finished trainings of the search of an arm's rate."""
        done = self.of(cell for cell in self.tuning_cells() if cell.arm == arm)
        search: dict[float, list[dict[str, Any]]] = {}
        for cell, entry in done.items():
            search.setdefault(cell.rate, []).append(entry)
        return search

    def _search(self, arm: str) -> tuple[float | None, bool]:
        """The tuned rate of an arm, and whether its search is finished."""
        tuning, search = self._study.tuning, self.search(arm)
        if sum(map(len, search.values())) < len(tuning.rates) * len(tuning.seeds):
            return None, False
        return choose_rate(self._study, search), True

    def study_cells(self, num_seeds: int | None = None) -> list[Cell]:
        """The cells that decide; of arms whose rate is known."""
        study = self._study
        rates = {arm: self.best_rate(arm) for arm in study.arms}
        return [
            Cell(arm, rate, seed, STUDY)
            for seed in study.seeds[:num_seeds]
            for arm, best in rates.items()
            for rate in (study.tuning.rates if study.sweep else [best])
            if rate is not None
        ]

    # Verdict

    def values(self, question: Question) -> dict[str, dict[int, float | None]]:
        """A measure by arm and seed; for what is counted or timed, by round."""
        study = self._study
        kind = study.measures[question.measure]["measure"]
        if kind in OF_ARMS:
            return {arm: _by_round(self.arms.get(arm, {}).get(kind)) for arm in question.contrast}
        done = self.of(self.study_cells())
        table: dict[str, dict[int, float | None]] = {}
        for arm in question.contrast:
            own = {cell: entry for cell, entry in done.items() if cell.arm == arm}
            if kind in OF_SWEEPS:
                of = study.measures[question.measure]["of"]
                table[arm] = {}
                for seed in {cell.seed for cell in own}:
                    swept = {cell.rate: entry["values"].get(of) for cell, entry in own.items() if cell.seed == seed}
                    if len(swept) == len(study.tuning.rates):
                        table[arm][seed] = largest_stable_rate(swept, 100 / num_classes(own))
            else:
                best = self.best_rate(arm)
                table[arm] = {
                    cell.seed: entry["values"].get(question.measure) for cell, entry in own.items() if cell.rate == best
                }
        return table

    def bounds(self, question: Question) -> dict[str, set[int]]:
        """By arm, the seeds whose value is a lower bound.

        Those are numbers of steps to what was not reached, and stable rates at the upper end of the grid.
        """
        study = self._study
        kind = study.measures[question.measure]["measure"]
        if kind in OF_SWEEPS:
            highest = max(study.tuning.rates)
            values = self.values(question)
            return {arm: {seed for seed, value in values[arm].items() if value == highest} for arm in values}
        if not kind.startswith(STEPS):
            return {}
        return self._seeds_with(question, lambda value, entry: value == entry["planned"])

    def upper_bounds(self, question: Question) -> dict[str, set[int]]:
        """By arm, the seeds whose value is an upper bound: steps to what was reached within the first running mean."""
        description = self._study.measures[question.measure]
        if not description["measure"].startswith(STEPS):
            return {}
        window = description.get("window", WINDOW)
        return self._seeds_with(question, lambda value, entry: value == window != entry["planned"])

    def _seeds_with(self, question: Question, holds: Callable[[Any, Mapping[str, Any]], bool]) -> dict[str, set[int]]:
        """By arm, the seeds for whose value of a measure, and finished training, a condition holds."""
        table: dict[str, set[int]] = {arm: set() for arm in question.contrast}
        for cell, entry in self.of(self.study_cells()).items():
            is_own = cell.arm in table and cell.rate == self.best_rate(cell.arm)
            if is_own and holds(entry["values"].get(question.measure), entry):
                table[cell.arm].add(cell.seed)
        return table

    def answers(self) -> list[Answer]:
        """The answer to each question of the study."""
        study = self.claim.study
        if study is None:
            return []
        answers, num_deciding = [], sum(question.decides for question in study.questions)
        for question in study.questions:
            without_rates = study.measures[question.measure]["measure"] in (*OF_ARMS, *OF_SWEEPS)
            untrained = [] if without_rates else self.untrained(question.contrast)
            found = answer(
                question, self.values(question), self.bounds(question), untrained, self.reasons(question), num_deciding,
                upper_bounds=self.upper_bounds(question),
            )  # fmt: skip
            answers.append(replace(found, is_timed=study.measures[question.measure]["measure"] in TIMED))
        return answers

    def reasons(self, question: Question) -> dict[str, str]:
        """For arms that have no value with some seeds, why: no rate is stable, or the loss to stop at is not reached."""
        study = self._study
        if study.measures[question.measure]["measure"] in OF_SWEEPS:
            return dict.fromkeys(question.contrast, "has no stable rate")
        if study.stop_at_loss is None:
            return {}
        done = self.of(self.study_cells())
        arms = {cell.arm for cell, entry in done.items() if not entry.get("reached", True)}
        return dict.fromkeys(arms, f"does not reach the training loss {study.stop_at_loss:g}")

    def missing(self) -> int:
        """Number of trainings of the study that are not done; those of a search whose end is open count once a seed."""
        study = self.claim.study
        if study is None:
            return 0
        tuning = self.tuning_cells()
        num_open = len(tuning) - len(self.of(tuning))
        cells = self.study_cells()
        unknown = [arm for arm in study.arms if not study.sweep and self._search(arm) == (None, False)]
        return num_open + len(cells) - len(self.of(cells)) + len(unknown) * len(study.seeds)

    def verdict_now(self) -> Verdict:
        """The verdict that the values and the present file give; open for an outdated file and for a stopped study."""
        is_stopped = self.verdict == Verdict.OPEN.value and self.missing() > 0
        return Verdict.OPEN if self.is_outdated or is_stopped else self.decide()

    def stored_verdict(self) -> Verdict:
        """The verdict of the last run, which takes no time; open for an outdated file."""
        return Verdict.OPEN if self.is_outdated else Verdict(self.verdict)

    def decide(self) -> Verdict:
        """The verdict on the claim: its exact facts and its questions together."""
        facts = [Verdict.SUPPORTED if fact["holds"] else Verdict.REFUTED for fact in self.facts]
        return combine([*facts, *(one.verdict for one in self.answers() if one.question.decides)])

    def sources_of_cells(self) -> list[dict[str, Any]]:
        """Machines and commits of the trainings that decide, with those of their search."""
        if self.claim.study is None:
            return []
        numbers = {entry.get("source") for entry in self.of([*self.tuning_cells(), *self.study_cells()]).values()}
        return [source for number, source in enumerate(self.sources) if number in numbers]

    @property
    def is_outdated(self) -> bool:
        """Whether the file of the claim is another than at the last run."""
        return bool(self.digests) and self.digests[-1]["digest"] != self.claim.digest

    @property
    def changed(self) -> bool:
        """Whether the file of the claim is another than before the first run."""
        return bool(self.digests) and self.digests[0]["digest"] != self.claim.digest


def num_classes(entries: Mapping[Cell, Mapping[str, Any]]) -> int:
    """Number of classes of the images of some cells."""
    return int(next(iter(entries.values()))["num_classes"])


def _by_round(values: Any) -> dict[int, float | None]:
    if values is None:
        return {}
    return dict(enumerate(values)) if isinstance(values, list) else {COUNTED: values}
