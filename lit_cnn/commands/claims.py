"""``lit-cnn claims``: lists the statements about the networks with their verdicts, runs and shows them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from lit_cnn.claims.describe import describe_answer, describe_facts, describe_scale, describe_scale_briefly
from lit_cnn.claims.results import Results
from lit_cnn.claims.standing import describe_budget, describe_change, describe_next, describe_verdict, describe_warnings
from lit_cnn.claims.study import Claim, find_claim, find_experiments, read_claims
from lit_cnn.claims.tables import describe_table, tabulate_arms
from lit_cnn.commands.messages import quiet, refuse
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.output import check_page, write_page
from lit_cnn.commands.tables import print_table
from lit_cnn.system.paths import expand
from lit_cnn.system.processors import usable_processors

ALL = "all"


ACTIONS = {
    "list": "list all statements with their verdicts",
    "run": "decide a claim, or resume what was stopped",
    "show": "print arms, numbers, intervals and verdict of a claim",
}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads the options: those of the action that comes first, ``list`` if none does."""
    action = arguments[0] if arguments and arguments[0] in ACTIONS else "list"
    rest = arguments[1:] if arguments[:1] == [action] else arguments
    if action == "list":
        actions = "; ".join(f"lit-cnn claims {name}: {what}" for name, what in ACTIONS.items())
        parser = OneLineParser(
            prog="lit-cnn claims",
            description=f"Statements about the networks, decided by checks and experiments. {actions}.",
            epilog="examples: lit-cnn claims run 14 --data_dir data; lit-cnn claims run 14 --quick; lit-cnn claims show 14",
        )
    else:
        parser = OneLineParser(prog=f"lit-cnn claims {action}", description=f"{ACTIONS[action].capitalize()}.")
        parser.add_argument("number", help="number of the claim" + (f", or {ALL}" if action == "run" else ""))
    parser.add_argument("--experiments", help="folder with claims/ and results/ (default: experiments)")
    if action != "run":
        parser.add_argument("--output", metavar="FILE.html", help="also write a page with figures")
    if action == "run":
        add = parser.add_argument
        add("--seeds", type=int, metavar="N", help="only the first N seeds of the study")
        quick = "try each arm on a few images; decides and writes nothing, and enters no look at its up to 200 test images"
        add("--quick", action="store_true", help=quick)
        add("--data_dir", default="data", help="where the datasets' files are (default: %(default)s)")
        add("--jobs", type=int, help="trainings at the same time, of one thread each (default: one a processor)")
        add("--runs_dir", default="runs", help="whose ledger gets the looks at test images (default: %(default)s)")
    options = parser.parse_args(rest)
    options.action = action
    return options


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn claims`` and returns the exit status."""
    options = parse(arguments[1:])
    experiments = find_experiments(options.experiments)
    if options.action == "run":
        quiet()
        claims = read_claims(experiments) if options.number == ALL else [find_claim(experiments, _number(options.number))]
        run_claims(experiments, claims, options)
        return 0
    output = None if options.output is None else expand(options.output)
    if output is not None:
        check_page(output)
    if options.action == "list":
        shown = [Results.read(experiments, claim) for claim in read_claims(experiments)]
        print_claims(shown)
    else:
        shown = [Results.read(experiments, find_claim(experiments, _number(options.number)))]
        show(shown[0])
    if output is not None:
        from lit_cnn.claims.page import write_claims  # imports matplotlib

        write_page(output, write_claims(shown))
        print(f"\n{output}")
    return 0


def print_claims(all_results: Sequence[Results]) -> None:
    """A row for each claim: number, verdict, what decided, statement."""
    rows = []
    for results in all_results:
        verdict = results.stored_verdict().value + ("*" if describe_change(results) else "")
        rows.append((results.claim.number, verdict, describe_scale_briefly(results), results.claim.statement))
    print_table(("claim", "verdict", "decided by", "statement"), rows, right=("claim",))
    for change in dict.fromkeys(filter(None, map(describe_change, all_results))):
        numbers = ", ".join(str(results.claim.number) for results in all_results if describe_change(results) == change)
        print(f"\n* {change}: {numbers}")


def run_claims(experiments: Path, claims: list[Claim], options: argparse.Namespace) -> None:
    """Runs claims one after the other and prints the verdict of each.

    Raises:
        ValueError: If an option makes no sense, or a dataset is missing.
    """
    from lit_cnn.claims.run import run, run_quickly

    if options.seeds is not None and options.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {options.seeds}")
    processors = usable_processors()
    if options.jobs is not None and not 1 <= options.jobs <= processors:
        raise ValueError(f"--jobs must be from 1 to {processors}, the number of processors, got {options.jobs}")
    jobs, data_dir = options.jobs or processors, expand(options.data_dir)
    for claim in claims:
        print(f"claim {claim.number}: {claim.statement}", flush=True)
        if options.quick:
            run_quickly(claim, data_dir, _report)
            continue
        results = Results.read(experiments, claim)
        started = time.perf_counter()
        run(results, data_dir, jobs, _report, options.seeds, expand(options.runs_dir) / "ledger.jsonl", quiet)
        show(results)
        print(f"{time.perf_counter() - started:,.0f} s; results in {results.path}", flush=True)
    if options.quick:
        print("a quick run decides nothing: it trains each arm once, on 500 images for one epoch, and writes no results")


def show(results: Results) -> None:
    """Prints arms, numbers, intervals and the verdict."""
    claim, study = results.claim, results.claim.study
    print(f"claim {claim.number}: {claim.statement}")
    print(f"evidence: {claim.evidence}")
    for line in describe_facts(results):
        print(line)
    if study is not None and results.cells:
        print()
        print_table(*tabulate_arms(results))
        for line in describe_table(results):
            print(line)
        print()
        for answer in results.answers():
            print(describe_answer(answer))
    verdict = results.verdict_now()
    print(f"\nverdict: {describe_verdict(results, verdict)}, {describe_scale(results)}")
    if claim.notes:
        print(claim.notes)
    lines = [describe_budget(results), *describe_warnings(results), describe_next(results, verdict)]
    for line in filter(None, lines):
        print(line)


def _number(text: str) -> int:
    if not text.isdecimal():
        refuse(f"expected the number of a claim, got {text}; lit-cnn claims lists them")
    return int(text)


def _report(line: str) -> None:
    print(f"  {line}", flush=True)
