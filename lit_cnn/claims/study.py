"""The files of the claims: statement, experiment and rule for the verdict, written before the first run."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from lit_cnn.claims.design import Question, Study, Tuning, check_study

# Where the claims and their results are, below a folder of experiments.
CLAIMS = "claims"
RESULTS = "results/claims"
# Words that are not written as in the names of files.
WRITTEN = {"relu": "ReLU", "vgg": "VGG", "lrn": "LRN", "densenet": "DenseNet"}


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
        title: Name of the file in words.
        digest: SHA-256 of what was fixed before the first run: the content of the file without its notes.
    """

    number: int
    path: Path
    statement: str
    evidence: str
    study: Study | None = None
    notes: str = ""
    title: str = ""
    digest: str = ""


def find_experiments(folder: str | Path | None = None) -> Path:
    """The folder of experiments: a given one, that of the current folder, or that of the source.

    Raises:
        ValueError: If there are no claims in it.
    """
    source = Path(__file__).parents[2] / "experiments"
    candidates = [Path(folder)] if folder else [Path("experiments"), source]
    for candidate in candidates:
        if any((candidate / CLAIMS).glob("*.yaml")):
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
        notes = str(content.pop("notes", "")).strip()
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        number = _take(content, "number")
        if not isinstance(number, int):
            raise ValueError(f"number must be a whole number, got {number!r}")
        statement, evidence = str(_take(content, "statement")).strip(), str(_take(content, "evidence")).strip()
        study = _read_study(content) if "arms" in content else None
        if content:
            raise ValueError(f"unknown key {next(iter(content))}")
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is no claim: {' '.join(str(error).split())[:300]}") from error
    return Claim(number, path, statement, evidence, study, notes, _title(path), digest)


def _title(path: Path) -> str:
    words = re.sub(r"^\d+_", "", path.stem).split("_")
    first, *others = (WRITTEN.get(word, word) for word in words)
    return " ".join([first[:1].upper() + first[1:], *others])


def _take(content: dict[str, Any], key: str) -> Any:
    if key not in content:
        raise ValueError(f"the key {key} is missing")
    return content.pop(key)


def _read_study(content: dict[str, Any]) -> Study:
    questions = [_build(Question, f"questions, {number}", one) for number, one in enumerate(_take(content, "questions"), 1)]
    tables = {name: _mapping(name, _take(content, name)) for name in ("arms", "measures")}
    settings = {
        "recipe": _mapping("recipe", _take(content, "recipe")),
        "arms": {str(arm): _mapping(f"arms.{arm}", changes or {}) for arm, changes in tables["arms"].items()},
        "tuning": _build(Tuning, "tuning", _take(content, "tuning")),
        "seeds": list(_take(content, "seeds")),
        "measures": {str(name): _mapping(f"measures.{name}", one) for name, one in tables["measures"].items()},
        "questions": [replace(one, contrast={str(arm): one.contrast[arm] for arm in one.contrast}) for one in questions],
        "budget_minutes": float(_take(content, "budget_minutes")),
        "sweep": bool(content.pop("sweep", False)),
    }
    sizes = {"train_images": None, "val_images": 5000, "test_images": None, "stop_at_loss": None}
    study = Study(**settings, **{name: content.pop(name, default) for name, default in sizes.items()})
    check_study(study)
    return study


def _mapping(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{key}: expected keys and values, got {value!r}")
    return value


def _build(cls: type[Any], key: str, given: Any) -> Any:
    """An object of a dataclass from its arguments in a file."""
    arguments = _mapping(key, given)
    known = {field.name: field.default is MISSING for field in fields(cls)}
    if unknown := [name for name in arguments if name not in known]:
        raise ValueError(f"{key}: unknown key {unknown[0]}")
    if missing := [name for name, required in known.items() if required and name not in arguments]:
        raise ValueError(f"{key}: the key {missing[0]} is missing")
    return cls(**arguments)
