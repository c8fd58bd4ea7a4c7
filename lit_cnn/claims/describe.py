"""Results of claims in words."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from lit_cnn.claims.design import Question, Study
from lit_cnn.claims.results import Results
from lit_cnn.claims.tuning import final_losses, is_unreached
from lit_cnn.claims.verdict import Answer, Verdict

# What a dataset is called, by its class; a folder of images by its path.
NAMES = {
    "cifar10-jpeg.tar.xz": "CIFAR-10 as JPEG copy",
    "FashionMNIST": "Fashion-MNIST",
    "MNIST": "MNIST",
    "Digits": "digits",
    "CIFAR10": "CIFAR-10",
    "FakeImages": "fake images",
}


def describe_scale(results: Results) -> str:
    """What decided: dataset, numbers of images, length of the trainings and seeds; or that it is exact."""
    study = results.claim.study
    if study is None:
        return "an exact check"
    data = study.recipe["data"]
    name = _name_of(data)
    size = data.get("init_args", {}).get("image_size")
    entries = results.of(results.study_cells()).values()
    num_tested = study.test_images or next((entry.get("num_tested") for entry in entries), None)
    trained, tested = ("all" if number is None else f"{number:,}" for number in (study.train_images, num_tested))
    images = f"{trained} training and {tested} test images"
    at_size = f" at {size}×{size}" if size else ""
    return f"{name}{at_size}, {images}, {_length(study)}, {_seeds(results, len(study.seeds))}"


def describe_scale_briefly(results: Results) -> str:
    """What decided, for a list: dataset and seeds, or that it is exact."""
    study = results.claim.study
    return "an exact check" if study is None else f"{_name_of(study.recipe['data'])}, {_seeds(results, len(study.seeds))}"


def _length(study: Study) -> str:
    """Epochs of the trainings, which may differ between arms or end at a loss."""
    all_epochs = {study.settings(arm, 0.0)["trainer"].get("max_epochs", 1) for arm in study.arms}
    if study.stop_at_loss is not None:
        return f"until a training loss of {study.stop_at_loss:g}, at most {_count(max(all_epochs), 'epoch')}"
    *first, last = sorted(all_epochs)
    return f"{', '.join(map(str, first))} or {last} epochs" if first else _count(last, "epoch")


def _seeds(results: Results, registered: int) -> str:
    """Number of seeds that are finished in every arm, if it is not that of the claim's file."""
    cells = results.study_cells()
    unfinished = {cell.seed for cell in set(cells) - results.of(cells).keys()}
    finished = len({cell.seed for cell in cells} - unfinished) or registered
    return _count(registered, "seed") if finished == registered else f"{finished} of {registered} registered seeds"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def describe_answer(answer: Answer) -> str:
    """A question with its interval and its verdict, in one line."""
    question = answer.question
    text = question.text + ("" if question.decides else " (does not decide)")
    if answer.interval is None:
        return f"{text}: {answer.verdict.value}; {answer.missing}"
    interval = answer.interval
    shown = f"{question.unit} {_number(interval.value)}"
    if interval.low != interval.high:
        shown += f", 95 % interval {_number(interval.low)} to {_number(interval.high)}"
        shown += f" over {answer.n} rounds" if answer.is_timed else ""
    elif answer.n > 1:
        shown += f", the same {answer.n} times"
    needed = ""
    if answer.verdict is Verdict.INCONCLUSIVE and answer.seeds_needed:
        number = "more than 10,000" if answer.seeds_needed > 10_000 else f"about {answer.seeds_needed:,}"
        needed = f"; {number} {'rounds' if answer.is_timed else 'seeds'} would decide"
    return f"{text}: {answer.verdict.value} ({shown}; asked: {_asked(question)}){needed}{_bounds(answer)}"


def _bounds(answer: Answer) -> str:
    if not answer.num_bounds:
        return ""
    are = "are lower bounds" if answer.num_bounds > 1 else "is a lower bound"
    return f"; {answer.num_bounds} of {answer.num_values} values {are}"


def describe_facts(results: Results) -> list[str]:
    """The facts of the exact check, a line each."""
    return [f"{'holds' if fact['holds'] else 'does not hold'}: {fact['text']}" for fact in results.facts]


def _asked(question: Question) -> str:
    threshold = _number(question.threshold)
    return f"within ±{threshold}" if question.expect == "within" else f"{question.expect} {threshold}"


def describe_search(results: Results) -> list[str]:
    """What a reader must know about the tuned rates, a sentence for each arm: one at an end of the grid, or none."""
    study = results.claim.study
    if study is None:
        return []
    lowest, highest = min(study.tuning.rates), max(study.tuning.rates)
    lines = [f"{arm}: no rate of the grid trains it" for arm in results.untrained(study.arms)]
    for arm in study.arms:
        rate = results.best_rate(arm)
        search = results.search(arm)
        if rate is not None and is_unreached(study, search):
            chosen = f"its rate {rate:g} has the lowest training loss"
            if not final_losses(study, search):
                chosen = "its rate is the lowest"
            lines.append(f"{arm}: no rate of the grid reaches the threshold of {study.tuning.measure}; {chosen}")
        elif rate in (lowest, highest) and lowest < highest:
            end, other = ("highest", "higher") if rate == highest else ("lowest", "lower")
            lines.append(f"{arm}: its rate {rate:g} is the {end} of the grid; a {other} one may be better")
    return lines


def _name_of(data: Mapping[str, Any]) -> str:
    cls = str(data["class_path"]).rpartition(".")[2]
    path = str((data.get("init_args") or {}).get("data_dir", cls)) if cls == "ImageFolder" else cls
    return NAMES.get(path, path)


def describe_value(results: Results, arm: str, measure: str) -> str:
    """Mean and standard deviation of a measure in an arm."""
    values = known_values(results, arm, measure)
    if not values:
        return "-"
    if len(set(values)) == 1:
        return _number(values[0])
    return f"{_number(statistics.mean(values))} ± {_number(statistics.stdev(values))}"


def known_values(results: Results, arm: str, measure: str) -> list[float]:
    """The values of a measure in an arm, without the missing ones."""
    values = results.values(Question("", measure, {arm: 1.0}, "above", 0.0))[arm]
    return [value for value in values.values() if value is not None]


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
