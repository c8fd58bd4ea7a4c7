"""What was measured in the arms of a claim, for the screen and for pages."""

from __future__ import annotations

from lit_cnn.analysis.table import Table
from lit_cnn.claims.describe import describe_value
from lit_cnn.claims.results import Results
from lit_cnn.system.text import shorten

# Columns that the settings of an arm take on a page.
WIDTH_ON_PAGES = 120


def tabulate_arms(results: Results, width: int = 50) -> Table:
    """Settings, tuned rate and measures of each arm of a study.

    Args:
        results: Of the study.
        width: Columns that the settings take at most.
    """
    study = results.claim.study
    assert study is not None
    names = [name for name in study.measures if name != study.tuning.measure or not name.startswith("val_")]
    rows = []
    for arm in study.arms:
        cells = [describe_value(results, arm, name) for name in names]
        changes = ", ".join(f"{name}={value}" for name, value in study.arms[arm].items())
        rate = results.best_rate(arm)
        rows.append((arm, shorten(changes, width) or "-", "-" if rate is None else f"{rate:g}", *cells))
    return Table(("arm", "settings", "rate", *names), rows, ("rate", *names))
