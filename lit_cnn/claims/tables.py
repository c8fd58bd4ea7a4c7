"""What was measured in the arms of a claim, for the screen and for pages."""

from __future__ import annotations

from lit_cnn.analysis.table import Table
from lit_cnn.claims.describe import describe_search, describe_value
from lit_cnn.claims.results import Results
from lit_cnn.claims.titles import title_of
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
    names = _columns(results)
    rows = []
    for arm in study.arms:
        cells = [describe_value(results, arm, name) for name in names]
        changes = ", ".join(f"{name}={value}" for name, value in study.arms[arm].items())
        rate = results.best_rate(arm)
        rows.append((arm, shorten(changes, width) or "-", "-" if rate is None else f"{rate:g}", *cells))
    return Table(("arm", "settings", "rate", *names), rows, ("rate", *names))


def describe_table(results: Results) -> list[str]:
    """What a reader of :func:`tabulate_arms` must know: the columns in words, and tuned rates at an end of the grid."""
    study = results.claim.study
    if study is None:
        return []
    titles = {name: title_of(name, study.measures[name]) for name in _columns(results)}
    in_words = [f"{name}: {title}" for name, title in titles.items() if title != name]
    return ["; ".join(in_words)] * bool(in_words) + describe_search(results)


def _columns(results: Results) -> list[str]:
    """The measures, without the validation accuracy by which rates are chosen."""
    study = results.claim.study
    assert study is not None
    return [name for name in study.measures if name != study.tuning.measure or not name.startswith("val_")]
