"""Files of claims whose studies take a second, and processes of a study that are none."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import yaml

from lit_cnn.claims.cells import TUNE, Cell
from lit_cnn.claims.design import Study
from lit_cnn.claims.results import Results
from lit_cnn.claims.study import CLAIMS, Claim, read_claim

QUESTION = {
    "text": "BatchNorm is better",
    "measure": "test_accuracy",
    "contrast": {"batch": 1, "plain": -1},
    "expect": "above",
    "threshold": 0,
    "margin": 1,
}
CONTENT: dict[str, Any] = {
    "number": 1,
    "statement": "BatchNorm helps.",
    "evidence": "A paper.",
    "recipe": {
        "model": {"class_path": "LitBlockNet", "init_args": {"widths": [4], "depths": [1], "schedule": "constant"}},
        "data": {"class_path": "Digits", "init_args": {"batch_size": 20}},
        "trainer": {"max_epochs": 1},
    },
    "train_images": 60,
    "val_images": 40,
    "test_images": 40,
    "arms": {"plain": {}, "batch": {"model.norm": "batch"}},
    "tuning": {"rates": [0.01, 0.1], "seeds": [100]},
    "seeds": [0, 1],
    "measures": {
        "val_accuracy": {"measure": "accuracy", "split": "val"},
        "test_accuracy": {"measure": "accuracy", "split": "test"},
        "steps": {"measure": "steps_to_error", "error": 0.2, "window": 1},
        "parameters": {"measure": "parameters"},
    },
    "questions": [QUESTION],
    "budget_minutes": 1,
}


RATES = [0.01, 0.1, 1.0]
STEPS = {"rates": RATES, "seeds": [100], "measure": "steps", "highest": False}


def claim_content(**changes: Any) -> dict[str, Any]:
    """What the file of a claim holds, with some keys changed; None removes a key."""
    content = copy.deepcopy(CONTENT)
    if "stop_at_loss" in changes:  # beside which no steps are counted
        del content["measures"]["steps"]
    content |= changes
    return {key: value for key, value in content.items() if value is not None}


def write_claim(experiments: Path, name: str = "01_batch_norm_helps", **changes: Any) -> Claim:
    """Writes the file of a claim into a folder of experiments and reads it."""
    path = experiments / CLAIMS / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(claim_content(**changes), sort_keys=False), encoding="utf-8")
    return read_claim(path)


def study_of(claim: Claim) -> Study:
    assert claim.study is not None
    return claim.study


def entry(value: float | None = 50.0, **changes: Any) -> dict[str, Any]:
    """What a training returns; all measures have one value."""
    values = dict.fromkeys(("val_accuracy", "test_accuracy", "steps"), value)
    counts = {"steps": 3, "planned": 3, "images": 60, "num_classes": 10, "num_tested": 40}
    return {"values": values, "curve": [], "seconds": 0.1, "diverged": value is None, "data": "digits"} | counts | changes


def finish(results: Results, values: Callable[[Cell], dict[str, Any]]) -> None:
    """Enters all cells of a study, in place of training them."""
    study = results.claim.study
    assert study is not None
    for cells in (results.tuning_cells, results.study_cells):
        for cell in cells():
            key = cell.key(study)
            results.cells[key] = {**vars(cell), "key": key, **values(cell), "source": 0}


def results_of(tmp_path: Path, **changes: Any) -> Results:
    """The results of a claim with three rates, whose file is written first."""
    changes = {"tuning": CONTENT["tuning"] | {"rates": RATES}} | changes
    return Results.read(tmp_path, write_claim(tmp_path, **changes))


def enter(results: Results, scores: dict[float, float | None], arm: str = "plain", seed: int = 100, **changes: Any) -> None:
    """Enters the search of an arm."""
    for rate, value in scores.items():
        cell = Cell(arm, rate, seed, TUNE)
        key = cell.key(study_of(results.claim))
        results.cells[key] = {**vars(cell), "key": key, **entry(value, **changes), "source": 0}


class AtOnce:
    """Does in this process what others would do, when it is submitted."""

    @staticmethod
    def submit(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except (ValueError, OSError) as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def in_this_process(*_: Any) -> Iterator[AtOnce]:
    yield AtOnce()
