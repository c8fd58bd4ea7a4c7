"""``docs/claims.md``: that it tells what the page of claims tells."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from conftest import load_script
from fake_results import EXACT, STUDY, fake_value, fill, write_claim
from html_pages import check_page

from lit_cnn.claims.page import write_claims
from lit_cnn.claims.results import Results


@pytest.fixture
def script() -> ModuleType:
    return load_script("claims_page")


@pytest.fixture
def study(tmp_path: Path) -> Results:
    """A study one of whose trainings is missing, and whose others come from two commits."""
    results = fill(write_claim(tmp_path, STUDY | {"notes": "The reason is not known."}), fake_value)
    results.cells.popitem()
    results.sources.append(results.sources[0] | {"commit": "badcafe"})
    next(iter(results.cells.values()))["source"] = 1
    results.verdict = "supported"
    results.write()
    exact = write_claim(tmp_path, EXACT)
    exact.facts = [{"text": "1 < 2 & 3", "holds": True}]
    exact.verdict = "refuted"  # which its facts contradict
    exact.digests = [{"digest": exact.claim.digest, "time": "now", "commit": "c0ffee"}]
    exact.write()
    return results


def test_both_pages_tell_the_same(study: Results, tmp_path: Path, script: ModuleType):
    written = script.write_page(tmp_path, tmp_path / "docs")
    assert [path.name for path in written] == ["claims.md", "14_claim.svg"]
    text = written[0].read_text(encoding="utf-8")
    page = check_page(write_claims([study])).text
    for sentence in (
        "1 training is missing; resume with: lit-cnn claims run 14",
        "The trainings come from 2 commits: badcafe, c0ffee.",
        "It takes fewer steps: supported (ratio ",
        "bn: its rate 0.01 is the lowest of the grid; a lower one may be better.",
        "digits at 28×28, 60 training and 360 test images, 1 epoch, 2 of 3 registered seeds",
        study.claim.digest,
        "planned 1 min, used 0.23 min of one thread",
        "The reason is not known.",
        "model.norm=batch",
    ):
        assert sentence in text
        assert sentence in page
    assert "Of these, 2 are supported. 1 follows from a definition and is checked exactly" in text
    assert "intervals over seeds, for these training and test images" in page
    assert "Intervals are over seeds, for these training and test images." in " ".join(text.split())
    assert "| arm | settings | rate | test_accuracy |" in text.replace("val_accuracy | ", "")


def test_a_changed_file_has_no_verdict(study: Results, tmp_path: Path, script: ModuleType):
    write_claim(tmp_path, STUDY | {"budget_minutes": 2})
    text = script.write_page(tmp_path, tmp_path / "docs")[0].read_text(encoding="utf-8")
    assert "**not yet run** (its file was changed)" in text
    assert "Of these, 1 is supported, 1 is not yet run." in text
    assert "The file of this claim was changed after its first run." in text
    assert f"changed; its digest was {study.claim.digest}" in text
