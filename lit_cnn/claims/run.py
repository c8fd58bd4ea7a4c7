"""Runs the study of a claim: the cells side by side, each with one thread, so that their number changes no result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lit_cnn.analysis.provenance import describe_machine
from lit_cnn.claims.cells import STUDY, Cell
from lit_cnn.claims.design import Study, shorten
from lit_cnn.claims.results import Results
from lit_cnn.claims.study import Claim
from lit_cnn.claims.verdict import Verdict
from lit_cnn.claims.workers import start_workers
from lit_cnn.errors import TrainingError
from lit_cnn.runs.ledger import Ledger, now
from lit_cnn.system.locks import alone

# Points of a curve that are kept.
MAX_POINTS = 40
# Steps in the mean that is the final loss.
NUM_FINAL = 20
# Images in the batch whose memory and speed are measured.
BATCH = 128
# Seconds after which a wait for the processes looks for Ctrl-C: a signal that comes just before a wait does not end it.
POLL = 0.5

Report = Callable[[str], None]


def run(
    results: Results,
    data_dir: Path,
    jobs: int,
    report: Report,
    num_seeds: int | None = None,
    ledger: Path | None = None,
    prepare: Callable[[], None] | None = None,
) -> Verdict:
    """Trains the cells that are missing, writes the results after each, and decides.

    Args:
        results: Of earlier runs; completed in place.
        data_dir: Where the files of the datasets are.
        jobs: Cells that are trained at the same time.
        report: Takes a line about what is done.
        num_seeds: Number of seeds of the study; None for all.
        ledger: File in which the looks at test images are entered; None for none.
        prepare: Called first in each process that trains.

    Returns:
        The verdict.
    Raises:
        ValueError: If settings or images cannot be used.
        OSError: If the results cannot be written.
    """
    study = results.claim.study
    if study is not None and num_seeds is not None and num_seeds > len(study.seeds):
        raise ValueError(
            f"claim {results.claim.number} has {len(study.seeds)} seeds, got {num_seeds}; more would have to be added to "
            f"{results.claim.path}, which then counts as changed"
        )
    results.path.parent.mkdir(parents=True, exist_ok=True)
    busy = f"claim {results.claim.number} is being run by another process: wait until it has ended"
    with alone(results.path.with_suffix(".lock"), busy):
        results.reload()  # another process may have ended since they were read
        return _run(results, data_dir, jobs, report, num_seeds, ledger, prepare)


def _run(
    results: Results,
    data_dir: Path,
    jobs: int,
    report: Report,
    num_seeds: int | None,
    ledger: Path | None,
    prepare: Callable[[], None] | None,
) -> Verdict:
    claim = results.claim
    is_missing = results.missing() > 0
    if is_missing:
        assert claim.study is not None
        check_runnable(claim.study, data_dir)
        results.verdict = Verdict.OPEN.value  # if the run is stopped
    _note_digest(results)
    if facts := check(claim.number):
        results.facts = facts
    if claim.study is not None:
        if is_missing:
            source = _note_source(results)
            with start_workers(jobs, prepare) as workers:
                for cells in (results.tuning_cells, lambda: results.study_cells(num_seeds)):
                    _train(results, cells(), workers, jobs, data_dir, source, report, ledger)
        if set(results.arms) != set(claim.study.arms):  # a speed that was measured stays
            report("measures sizes and speeds")
            results.arms = measure_all_arms(results, data_dir)
    verdict = results.decide()
    results.verdict = verdict.value
    results.write()
    return verdict


def check_runnable(study: Study, data_dir: Path) -> None:
    """Reads the images and makes each arm's network, so that what is wrong is known before the first training.

    Raises:
        ValueError: If a class, an argument or a measure is unknown, or images are missing.
    """
    from lit_cnn.claims.images import make_data
    from lit_cnn.claims.measured import check_measures
    from lit_cnn.claims.training import make_model, trainer_settings

    check_measures(study)
    for arm in study.arms:
        settings = study.settings(arm, study.tuning.rates[0])
        data = make_data(settings, data_dir, study.seeds[0])
        try:
            trainer_settings(settings)
            make_model(settings, data, study.seeds[0])
        except ValueError as error:
            raise ValueError(f"arm {arm}: {error}") from error


def check(number: int) -> list[dict[str, Any]]:
    """The facts of the exact check of a claim; none if it has no exact part."""
    from lit_cnn.claims.exact import CHECKS

    return [asdict(fact) for fact in CHECKS[number]()] if number in CHECKS else []


def run_cell(study: Study, cell: Cell, data_dir: Path) -> dict[str, Any]:
    """Trains and measures one cell of a study with one thread, so that its numbers are the same wherever it is trained."""
    from lit_cnn.claims.measured import measure_cell
    from lit_cnn.claims.training import one_thread, train

    with one_thread():
        trained = train(study.settings(cell.arm, cell.rate), cell.seed, data_dir)
        # The search of a rate sees no test image.
        name = study.tuning.measure
        values = measure_cell(trained, study.measures if cell.purpose == STUDY else {name: study.measures[name]})
    history = trained.history
    reached = {} if study.stop_at_loss is None else {"reached": trained.reached}
    return {
        "values": values,
        "curve": _thin(history.losses) if cell.purpose == STUDY else [],
        "steps": len(history.losses),
        "planned": history.planned,
        "images": history.images,
        "seconds": round(history.seconds, 2),
        "diverged": trained.diverged,
        "final_loss": None if trained.diverged else _final_loss(history.losses),
        "num_classes": trained.data.num_classes,
        "data": trained.data.name,
        "num_tested": len(trained.data.source.splits["test"].labels),
        **reached,
    }


def run_quickly(claim: Claim, data_dir: Path, report: Report) -> None:
    """Trains each arm once on a few images, in seconds: whether it can be run, not what it gives."""
    for fact in check(claim.number):
        report(f"{'holds' if fact['holds'] else 'FAILS'}: {fact['text']}")
    if claim.study is None:
        return
    study = shorten(claim.study)
    check_runnable(study, data_dir)
    for arm in study.arms:
        entry = run_cell(study, Cell(arm, study.tuning.rates[0], study.seeds[0], STUDY), data_dir)
        report(f"{arm}: {_show(entry)}; {entry['seconds']:.1f} s")


def measure_all_arms(results: Results, data_dir: Path) -> dict[str, dict[str, Any]]:
    """Parameters, multiply-adds, memory and speed of each arm's network; speeds are measured in turn, with one thread."""
    from lit_cnn.claims.images import make_data
    from lit_cnn.claims.measured import measure_arms
    from lit_cnn.claims.training import make_model, one_thread

    study = results.claim.study
    assert study is not None
    networks, images = {}, {}
    for arm in study.arms:
        settings = study.settings(arm, results.best_rate(arm) or study.tuning.rates[0])
        data = make_data(settings, data_dir, study.seeds[0])
        networks[arm] = make_model(settings, data, study.seeds[0]).network
        images[arm] = data.preprocessing(data.source.splits["train"].pixels[:BATCH])
    wanted = [measure["measure"] for measure in study.measures.values()]
    with one_thread():
        return measure_arms(networks, images, wanted)


def _train(
    results: Results,
    cells: Sequence[Cell],
    workers: ProcessPoolExecutor,
    jobs: int,
    data_dir: Path,
    source: int,
    report: Report,
    ledger: Path | None,
) -> None:
    study = results.claim.study
    assert study is not None
    done = results.of(cells)
    missing = [cell for cell in cells if cell not in done]
    if not missing:
        return
    report(f"{len(missing)} of {len(cells)} trainings to do: {missing[0].purpose}")
    waiting, running = list(missing), dict[Future[dict[str, Any]], Cell]()
    while waiting or running:
        while waiting and len(running) < jobs:
            cell = waiting.pop(0)
            running[workers.submit(run_cell, study, cell, data_dir)] = cell
        for future in wait(running, timeout=POLL, return_when=FIRST_COMPLETED).done:
            cell = running.pop(future)
            try:
                entry = future.result()
            except BrokenProcessPool as error:
                raise TrainingError("a process of the study was killed; the same command resumes the study") from error
            if cell.purpose == STUDY and ledger:
                _enter(ledger, results.claim, cell, entry)
            key = cell.key(study)
            results.cells[key] = {**asdict(cell), "key": key, **entry, "source": source}
            results.write()
            left = len(waiting) + len(running)
            report(f"{cell.arm}, rate {cell.rate:g}, seed {cell.seed}: {_show(entry)}; {left} left")


def _show(entry: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{name} {value:.4g}" for name, value in entry["values"].items() if value is not None)
    return shown or ("diverged" if entry["diverged"] else "did not reach the training loss")


def _enter(ledger: Path, claim: Claim, cell: Cell, entry: dict[str, Any]) -> None:
    name = f"claim {claim.number}, {cell.arm}, rate {cell.rate:g}, seed {cell.seed}"
    ledger.parent.mkdir(parents=True, exist_ok=True)
    Ledger(ledger).enter({"time": now(), "run": name, "data": entry["data"], "test/images": entry["num_tested"]})


def _note_digest(results: Results) -> None:
    digest = results.claim.digest
    if not results.digests or results.digests[-1]["digest"] != digest:
        results.arms = {}  # of arms that may have changed
        machine = describe_machine()
        results.digests.append({"digest": digest, "time": machine["time"], "commit": machine["commit"]})


def _note_source(results: Results) -> int:
    """The number of this machine and commit among the sources of the results."""
    machine = describe_machine()
    source = {name: machine[name] for name in ("commit", "torch", "python", "cpu_name", "cpu", "processors")}
    if source not in results.sources:
        results.sources.append(source)
    return results.sources.index(source)


def _final_loss(losses: Sequence[float]) -> float | None:
    """Mean loss of the last steps; None if it is no number."""
    last = losses[-NUM_FINAL:]
    mean = sum(last) / len(last) if last else math.nan
    return round(mean, 6) if math.isfinite(mean) else None


def _thin(values: Sequence[float]) -> list[list[float]]:
    """Means of equal parts of a curve, each with the step at its end; at most :data:`MAX_POINTS`."""
    size = max(1, math.ceil(len(values) / MAX_POINTS))
    parts = [values[start : start + size] for start in range(0, len(values), size)]
    ends = [min(start + size, len(values)) for start in range(0, len(values), size)]
    points = ((end, sum(part) / len(part)) for part, end in zip(parts, ends, strict=True))
    return [[end, round(mean, 5)] for end, mean in points if math.isfinite(mean)]  # JSON knows no infinity
