"""Results of claims that nobody ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lit_cnn.claims.results import Results
from lit_cnn.claims.study import find_claim

EXACT = {"number": 20, "statement": "A <b>bottleneck</b> has fewer parameters.", "evidence": "He et al. 2016, Fig. 5."}
STUDY: dict[str, Any] = {
    "number": 14,
    "statement": "Normalised networks learn faster.",
    "evidence": "Ioffe and Szegedy 2015, Table 2.",
    "recipe": {
        "model": {"class_path": "LitBlockNet"},
        "data": {"class_path": "Digits", "init_args": {"image_size": 28}},
        "trainer": {"max_epochs": 1},
    },
    "train_images": 60,
    "val_images": 20,
    "arms": {"plain": {}, "bn": {"model.norm": "batch"}},
    "tuning": {"rates": [0.1, 0.01], "seeds": [100]},
    "seeds": [0, 1, 2],
    "measures": {
        "val_accuracy": {"measure": "accuracy", "split": "val"},
        "test_accuracy": {"measure": "accuracy", "split": "test"},
        "steps": {"measure": "steps_to_error", "error": 0.2},
        "parameters": {"measure": "parameters"},
    },
    "questions": [
        {"text": "It takes fewer steps", "measure": "steps", "contrast": {"plain": 1, "bn": -1}, "expect": "above"}
        | {"threshold": 1, "margin": 0.1, "scale": "log"},
        {"text": "It is better", "measure": "test_accuracy", "contrast": {"bn": 1, "plain": -1}, "expect": "above"}
        | {"threshold": 0, "margin": 0.5, "decides": False},
    ],
    "budget_minutes": 1,
}


def write_claim(experiments: Path, content: Mapping[str, Any]) -> Results:
    """The file of a claim, and its empty results.

    Args:
        experiments: Folder of experiments.
        content: Of the file.
    """
    folder = experiments / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{content['number']:02}_claim.yaml"
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")
    return Results.read(experiments, find_claim(experiments, content["number"]))


def fill(results: Results, value: Callable[[str, int, str], float]) -> Results:
    """Results of all cells of a study; the lower rate is the best.

    Args:
        results: Empty ones.
        value: The value of a measure in an arm with a seed, by arm, seed and measure.
    """
    study = results.claim.study
    assert study is not None
    results.digests = [{"digest": results.claim.digest, "time": "2026-01-01T10:00:00+00:00", "commit": "c0ffee"}]
    machine = {"commit": "c0ffee", "torch": "2.11", "python": "3.11", "cpu_name": "Fake CPU", "cpu": "AVX2", "processors": 2}
    results.sources = [machine]
    results.arms = {arm: {"parameters": 1000 * (number + 1)} for number, arm in enumerate(study.arms)}
    for cells in (results.tuning_cells, results.study_cells):
        for cell in cells():
            names = study.measures if cell.purpose == "study" else [study.tuning.measure]
            values = {name: value(cell.arm, cell.seed, name) - cell.rate for name in names if name != "parameters"}
            start = 2.3 + 0.1 * cell.seed
            curve = [[step, start / step] for step in (1, 2, 4)] if cell.purpose == "study" else []
            key = cell.key(study)
            entry = {"values": values, "curve": curve, "seconds": 1.5, "diverged": False, "num_classes": 10, "source": 0}
            entry |= {"steps": 4, "planned": 500, "images": 40, "num_tested": 360}
            fields = {"arm": cell.arm, "rate": cell.rate, "seed": cell.seed, "purpose": cell.purpose, "key": key}
            results.cells[key] = fields | entry
    results.verdict = results.decide().value
    return results


def fake_value(arm: str, seed: int, measure: str) -> float:
    """Normalised networks take half of the steps and are as accurate."""
    if measure == "steps":
        return (100 if arm == "plain" else 50) + 3 * seed * (1 if arm == "bn" else 2)
    return 90 + seed + (0.5 * (-1) ** seed if arm == "bn" else 0)
