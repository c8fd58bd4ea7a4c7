"""What stands beside the verdict on a claim: changes of its file, missing trainings, provenance and cost, in words."""

from __future__ import annotations

from typing import Any

from lit_cnn.claims.results import Results
from lit_cnn.claims.verdict import Verdict


def describe_change(results: Results) -> str:
    """Whether the file of the claim was changed since the last or the first run; empty if it was not."""
    if results.is_outdated:
        return "its file was changed"
    return "file changed since its first run" if results.changed else ""


def describe_verdict(results: Results, verdict: Verdict) -> str:
    """A verdict, and whether the file of the claim was changed."""
    change = describe_change(results)
    return f"{verdict.value} ({change})" if change else verdict.value


def describe_next(results: Results, verdict: Verdict) -> str:
    """Number of missing trainings, and the command that decides the claim; empty if there is nothing to do."""
    command = f"lit-cnn claims run {results.claim.number}"
    if results.cells and (missing := results.missing()):
        are = "trainings are" if missing > 1 else "training is"
        return f"{missing:,} {are} missing; resume with: {command}"
    return f"run it with: {command}" if verdict is Verdict.OPEN else ""


def describe_warnings(results: Results) -> list[str]:
    """What makes results less certain than they look, a sentence each."""
    lines = ["the file of this claim was changed after its first run"] if results.changed else []
    commits = sorted({_commit(source) for source in results.sources_of_cells()})
    if len(commits) > 1:
        lines.append(f"the trainings come from {len(commits)} commits: {', '.join(commits)}")
    return lines


def describe_budget(results: Results) -> str:
    """Planned and used minutes; empty before the first training."""
    study = results.claim.study
    if study is None or not results.cells:
        return ""
    used = sum(cell["seconds"] for cell in results.cells.values()) / 60
    shown = f"{used:,.0f}" if used >= 10 else f"{used:.2g}"
    return f"planned {study.budget_minutes:g} min, used {shown} min of one thread"


def describe_provenance(results: Results) -> list[tuple[str, Any]]:
    """Files, commits, machines and cost: names and values."""
    rows: list[tuple[str, Any]] = [("command", f"lit-cnn claims run {results.claim.number}")]
    rows += [("file", results.claim.path.name), ("digest of the file", results.claim.digest)]
    if results.digests:
        first = results.digests[0]
        changed = f"changed; its digest was {first['digest']}" if results.changed else "not changed"
        rows += [("since the first run", changed), ("first run", f"{first['time']}, commit {_commit(first)}")]
        rows.append(("results", results.path.name))
    for source in results.sources:
        machine = f"{source['processors']} × {source['cpu_name']} ({source['cpu']})"
        rows.append(("trained on", f"{machine}, torch {source['torch']}, commit {_commit(source)}"))
    if results.cells:
        diverged = sum(bool(cell["diverged"]) for cell in results.cells.values())
        rows.append(("trainings", f"{len(results.cells):,}" + (f", of which {diverged:,} diverged" if diverged else "")))
    if budget := describe_budget(results):
        rows.append(("time", budget))
    return rows


def _commit(source: dict[str, Any]) -> str:
    """The first digits of a commit, and whether there were changes beside it."""
    commit, dirty, _ = str(source["commit"]).partition("-dirty")
    return commit[:12] + dirty
