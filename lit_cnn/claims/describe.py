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
    text = ""
    for number, bound in ((answer.num_bounds, "a lower bound"), (answer.num_upper_bounds, "an upper bound")):
        if number:
            are = f"are {bound.split()[1]} bounds" if number > 1 else f"is {bound}"
            text += f"; {number} of {answer.num_values} values {are}"
    return text


def describe_facts(results: Results) -> list[str]:
    """The facts of the exact check, a line each."""
    return [f"{'holds' if fact['holds'] else 'does not hold'}: {fact['text']}" for fact in results.facts]


def _asked(question: Question) -> str:
    threshold = _number(question.threshold)
    if question.expect == "within":
        return f"within ±{threshold}"
    margin = f", margin {_number(question.margin)}" if question.margin else ""
    return f"{question.expect} {threshold}{margin}"


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
            unreached = f"in the search, no rate of the grid reaches the threshold of {study.tuning.measure}"
            lines.append(f"{arm}: {unreached}; {chosen}")
        elif rate in (lowest, highest) and lowest < highest:
            end, other = ("highest", "higher") if rate == highest else ("lowest", "lower")
            lines.append(f"{arm}: its rate {rate:g} is the {end} of the grid; a {other} one may be better")
    return lines


def _name_of(data: Mapping[str, Any]) -> str:
    cls = str(data["class_path"]).rpartition(".")[2]
    path = str((data.get("init_args") or {}).get("data_dir", cls)) if cls == "ImageFolder" else cls
    return NAMES.get(path, path)


def describe_value(results: Results, arm: str, measure: str) -> str:
    """Mean and standard deviation of a measure in an arm; with how many seeds they are of, if others have no value."""
    of_arm = _values(results, arm, measure)
    values = [value for value in of_arm if value is not None]
    if not values:
        return "-"
    text = _number(statistics.mean(values))
    if len(set(values)) > 1:
        text += f" ± {_number(statistics.stdev(values))}"
    return text if len(values) == len(of_arm) else f"{text} ({len(values)} of {len(of_arm)})"


def known_values(results: Results, arm: str, measure: str) -> list[float]:
    """The values of a measure in an arm, without the missing ones."""
    return [value for value in _values(results, arm, measure) if value is not None]


def _values(results: Results, arm: str, measure: str) -> list[float | None]:
    return [*results.values(Question("", measure, {arm: 1.0}, "above", 0.0))[arm].values()]


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
