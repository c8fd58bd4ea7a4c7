"""The page of claims: statements, verdicts, and what decided them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lit_cnn.analysis import page
from lit_cnn.analysis.table import Table
from lit_cnn.claims.describe import describe_answer, describe_facts, describe_scale
from lit_cnn.claims.plots import figure_of
from lit_cnn.claims.results import Results
from lit_cnn.claims.standing import describe_change, describe_next, describe_provenance, describe_warnings
from lit_cnn.claims.tables import WIDTH_ON_PAGES, describe_table, tabulate_arms
from lit_cnn.claims.verdict import Verdict

# Class of a verdict in the page's style.
MARKS = {
    Verdict.SUPPORTED.value: "supported",
    Verdict.REFUTED.value: "refuted",
    Verdict.INCONCLUSIVE.value: "inconclusive",
    Verdict.OPEN.value: "open",
}


@dataclass(frozen=True)
class ClaimSection:
    """What a page shows of a claim.

    Args:
        results: Its results.
        verdict: As the values and the present file give it.
        change: Whether the file was changed; may be empty.
        warnings: What makes the results less certain than they look, in sentences.
        todo: Number of missing trainings, and the command; may be empty.
        scale: At which it was decided.
        answers: To its questions: verdict and sentence.
        search: What a reader must know about the tuned rates, in sentences.
        facts: Of its exact check: whether each holds, and a sentence.
        arms: Table of what was measured; None if nothing was.
        figure: Of the same; None if nothing was.
        provenance: Names and values.
    """

    results: Results
    verdict: str
    change: str
    warnings: Sequence[str]
    todo: str
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
    sections = [_section(results) for results in all_results]
    verdicts = Counter(section.verdict for section in sections)
    counted = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in MARKS if verdicts[verdict])
    return page.render(
        "claims.html",
        title=f"{len(all_results)} claims" if several else f"Claim {first.number}",
        subtitle=f"Statements about convolutional networks: {counted}" if several else first.title,
        several=several,
        verdicts=verdicts,
        marks=MARKS,
        claims=sections,
    )


def _section(results: Results) -> ClaimSection:
    figure, verdict = figure_of(results), results.verdict_now()
    return ClaimSection(
        results,
        verdict.value,
        describe_change(results),
        describe_warnings(results),
        describe_next(results, verdict),
        describe_scale(results),
        [(answer.verdict.value, describe_answer(answer)) for answer in results.answers()] if results.cells else [],
        describe_table(results) if results.cells else [],
        [(fact["holds"], text) for fact, text in zip(results.facts, describe_facts(results), strict=True)],
        tabulate_arms(results, WIDTH_ON_PAGES) if results.claim.study is not None and results.cells else None,
        None if figure is None else page.svg(figure, f"values and curves of claim {results.claim.number}"),
        describe_provenance(results),
    )
