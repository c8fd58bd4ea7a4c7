"""The files of the claims: statement, experiment and rule for the verdict, written before the first run."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import yaml

from lit_cnn.claims.design import Expectation, Question, Scale, Study, Tuning

# Where the claims and their results are, below a folder of experiments.
CLAIMS = "claims"
RESULTS = "results/claims"


@dataclass(frozen=True)
class Claim:
    """A statement and how it is decided.

    Args:
        number: Of the claim.
        path: The file.
        statement: What is claimed.
        evidence: What the papers report.
        study: The experiment; None if the statement follows from the definition.
        notes: Two sentences on the result, written after it.
    """

    number: int
    path: Path
    statement: str
    evidence: str
    study: Study | None = None
    notes: str = ""
    title: str = field(default="")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what was fixed before the first run: the file without its notes."""
        content = yaml.safe_load(self.path.read_text(encoding="utf-8"))
        content.pop("notes", None)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def find_experiments(folder: str | Path | None = None) -> Path:
    """The folder of experiments: a given one, that of the current folder, or that of the source.

    Raises:
        ValueError: If there are no claims in it.
    """
    source = Path(__file__).parents[2] / "experiments"
    candidates = [Path(folder)] if folder else [Path("experiments"), source]
    for candidate in candidates:
        if (candidate / CLAIMS).is_dir():
            return candidate
    raise ValueError(f"there are no claims in {candidates[0]}: change to the folder of lit_cnn, or name --experiments")


def read_claims(experiments: Path) -> list[Claim]:
    """All claims, in the order of their numbers.

    Raises:
        ValueError: If a file is no claim; names the file and the key.
    """
    claims = [read_claim(path) for path in sorted((experiments / CLAIMS).glob("*.yaml"))]
    numbers = [claim.number for claim in claims]
    for claim in claims:
        if numbers.count(claim.number) > 1:
            raise ValueError(f"{claim.path}: another file has the number {claim.number} too")
    return sorted(claims, key=lambda claim: claim.number)


def find_claim(experiments: Path, number: int) -> Claim:
    """The claim of a number.

    Raises:
        ValueError: If there is none.
    """
    claims = {claim.number: claim for claim in read_claims(experiments)}
    if number not in claims:
        raise ValueError(f"there is no claim {number}; lit-cnn claims lists those from {min(claims)} to {max(claims)}")
    return claims[number]


def read_claim(path: Path) -> Claim:
    """Reads the file of a claim.

    Raises:
        ValueError: If a key is missing or unknown, or a value makes no sense.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("expected keys and values")
        content = dict(content)
        number = int(_take(content, "number"))
        statement, evidence = str(_take(content, "statement")).strip(), str(_take(content, "evidence")).strip()
        notes = str(content.pop("notes", "")).strip()
        study = _read_study(content) if "arms" in content else None
        if content:
            raise ValueError(f"unknown key {next(iter(content))}")
    except (yaml.YAMLError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is no claim: {' '.join(str(error).split())[:300]}") from error
    title = re.sub(r"^\d+_", "", path.stem).replace("_", " ")
    return Claim(number, path, statement, evidence, study, notes, title)


def _take(content: dict[str, Any], key: str) -> Any:
    if key not in content:
        raise ValueError(f"the key {key} is missing")
    return content.pop(key)


def _read_study(content: dict[str, Any]) -> Study:
    arms = {str(name): dict(changes or {}) for name, changes in dict(_take(content, "arms")).items()}
    measures = {str(name): dict(measure) for name, measure in dict(_take(content, "measures")).items()}
    tuning = Tuning(**_take(content, "tuning"))
    questions = [Question(**question) for question in _take(content, "questions")]
    study = Study(
        recipe=_take(content, "recipe"),
        arms=arms,
        tuning=tuning,
        seeds=list(_take(content, "seeds")),
        measures=measures,
        questions=questions,
        train_images=content.pop("train_images", None),
        val_images=content.pop("val_images", 5000),
        test_images=content.pop("test_images", None),
        stop_at_loss=content.pop("stop_at_loss", None),
        sweep=bool(content.pop("sweep", False)),
        budget_minutes=float(_take(content, "budget_minutes")),
    )
    _check(study)
    return study


def _check(study: Study) -> None:
    if not any(question.decides for question in study.questions):
        raise ValueError("questions: expected at least one that decides")
    if both := set(study.seeds) & set(study.tuning.seeds):
        raise ValueError(f"the seed {min(both)} tunes the rate and is used in the study: a study needs seeds of its own")
    for question in study.questions:
        unknown = set(question.contrast) - set(study.arms)
        if unknown:
            raise ValueError(f"{question.text}: there is no arm {sorted(unknown)[0]}")
        if question.measure not in study.measures:
            raise ValueError(f"{question.text}: there is no measure {question.measure}")
        if question.expect not in get_args(Expectation) or question.scale not in get_args(Scale):
            raise ValueError(f"{question.text}: expect must be above, below or within, scale linear or log")
        if question.margin < 0 or (question.scale == "log" and question.threshold <= 0):
            raise ValueError(f"{question.text}: a margin is at least 0, a ratio above 0")
    if study.tuning.measure not in study.measures:
        raise ValueError(f"tuning: there is no measure {study.tuning.measure}")
    if not all(math.isfinite(rate) and rate > 0 for rate in study.tuning.rates) or not study.tuning.rates:
        raise ValueError("tuning.rates: expected rates above 0")
