"""The page of claims: statements, verdicts, and what decided them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lit_cnn.analysis import page
from lit_cnn.analysis.table import Table
from lit_cnn.claims.describe import describe_answer, describe_facts, describe_scale, describe_search
from lit_cnn.claims.plots import figure_of
from lit_cnn.claims.results import Results
from lit_cnn.claims.tables import tabulate_arms
from lit_cnn.claims.verdict import Verdict

# Class of a verdict in the page's style.
MARKS = {
    Verdict.SUPPORTED.value: "supported",
    Verdict.REFUTED.value: "refuted",
    Verdict.INCONCLUSIVE.value: "inconclusive",
    Verdict.OPEN.value: "open",
}
# Columns of the settings of an arm.
SETTINGS_WIDTH = 120


@dataclass(frozen=True)
class ClaimSection:
    """What a page shows of a claim.

    Args:
        results: Its results.
        scale: At which it was decided.
        answers: To its questions: verdict and sentence.
        search: What a reader must know about the tuned rates, in sentences.
        facts: Of its exact check: whether each holds, and a sentence.
        arms: Table of what was measured; None if nothing was.
        figure: Of the same; None if nothing was.
        provenance: Names and values.
    """

    results: Results
    scale: str
    answers: Sequence[tuple[str, str]]
    search: Sequence[str]
    facts: Sequence[tuple[bool, str]]
    arms: Table | None
    figure: Markup | None
    provenance: Sequence[tuple[str, Any]]


def write_claims(all_results: Sequence[Results]) -> str:
    """The page of claims: one row each if there are several, then one section each.

    Args:
        all_results: Results of the claims, at least one.
    """
    several = len(all_results) > 1
    first = all_results[0].claim
    verdicts = Counter(results.verdict for results in all_results)
    counted = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in MARKS if verdicts[verdict])
    return page.render(
        "claims.html",
        title=f"{len(all_results)} claims" if several else f"Claim {first.number}",
        subtitle=f"Statements about convolutional networks: {counted}" if several else first.title,
        several=several,
        verdicts=verdicts,
        marks=MARKS,
        claims=[_section(results) for results in all_results],
    )


def _section(results: Results) -> ClaimSection:
    figure = figure_of(results)
    return ClaimSection(
        results,
        describe_scale(results),
        [(answer.verdict.value, describe_answer(answer)) for answer in results.answers()] if results.cells else [],
        describe_search(results) if results.cells else [],
        [(fact["holds"], text) for fact, text in zip(results.facts, describe_facts(results), strict=True)],
        tabulate_arms(results, SETTINGS_WIDTH) if results.claim.study is not None and results.cells else None,
        None if figure is None else page.svg(figure, f"values and curves of claim {results.claim.number}"),
        list(_provenance(results)),
    )


def _provenance(results: Results) -> list[tuple[str, Any]]:
    """Files, commits, machines and cost."""
    first = results.digests[0] if results.digests else None
    rows: list[tuple[str, Any]] = [("file", results.claim.path.name), ("digest of the file", results.claim.digest)]
    if first is not None:
        changed = f"changed; its digest was {first['digest']}" if results.changed else "not changed"
        rows += [("since the first run", changed), ("first run", f"{first['time']}, commit {first['commit']}")]
        rows.append(("results", results.path.name))
    for source in results.sources:
        machine = f"{source['processors']} × {source['cpu_name']} ({source['cpu']})"
        rows.append(("trained on", f"{machine}, torch {source['torch']}, commit {source['commit']}"))
    if results.cells:
        diverged = sum(bool(cell["diverged"]) for cell in results.cells.values())
        rows.append(("trainings", f"{len(results.cells):,}" + (f", of which {diverged:,} diverged" if diverged else "")))
        rows.append(("seconds of training", f"{sum(cell['seconds'] for cell in results.cells.values()):,.0f}"))
    return rows
