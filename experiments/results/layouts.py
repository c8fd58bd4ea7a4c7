"""Layouts of the tables of the pages, from the content of the files of results."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from lit_cnn.analysis.markdown import markdown_table as layout
from lit_cnn.analysis.markdown import percent
from lit_cnn.analysis.statistics import paired_difference
from lit_cnn.benchmark.augmentation import medians

RESULTS = "experiments/results"
ARMS = {"plain": "plain loop", "lightning": "LightningModule", "lit_cnn": "lit-cnn", "ceiling": "ceiling"}


def machine(environment: dict[str, Any]) -> str:
    processor = f"{environment['cpu_name'] or 'unnamed processor'} ({environment['cpu']}, {environment['threads']} threads)"
    return ", ".join(filter(None, (processor, environment.get("gpu"))))


def range_of(values: list[float], digits: int = 0) -> str:
    """Median, and in parentheses the lowest and the highest."""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def case_name(case: dict[str, Any]) -> str:
    images = {"fashion_mnist": "Fashion-MNIST", "synthetic": "synthetic images"}.get(case["data"], "JPEGs")
    return f"{case['model']}, {images} at {case['image_size']}×{case['image_size']}, batch {case['batch_size']}"


def speed(content: dict[str, Any]) -> str:
    rows = []
    for result in content["cases"].values():
        arms, summary = result["arms"], result["summary"]
        ratios = [f"{summary[f'lit_cnn/{arm}']:.2f}" for arm in ("plain", "ceiling")]
        speeds = [range_of([one["images_per_s"] for one in arms[arm]]) for arm in ARMS]
        rows.append([case_name(result["case"]), *speeds, *ratios])
        if "first epoch: lit_cnn/plain" in summary:
            firsts = [summary[arm].get("first_epoch_images_per_s") for arm in ARMS]
            cells = [f"{first:,.0f}" if first else "" for first in firsts]
            rows.append(["… its first epoch, decoding included", *cells, f"{summary['first epoch: lit_cnn/plain']:.2f}", ""])
    return layout(["images/s", *ARMS.values(), "lit-cnn / plain", "lit-cnn / ceiling"], rows)


def cost(content: dict[str, Any]) -> str:
    rows = []
    for result in content["cases"].values():
        summary = [result["summary"][arm] for arm in ARMS]
        first = [f"{arm['first_step_s']:.1f}" for arm in summary]
        memory = [f"{arm.get('peak_device_memory_mb', arm['peak_memory_mb']):,.0f}" for arm in summary]
        rows += [[case_name(result["case"]), "first step after, s", *first], ["", "peak memory, MB", *memory]]
    return layout(["case", "", *ARMS.values()], rows, text_columns=2)


def augmentation(content: dict[str, Any]) -> str:
    measured = content["augmentation"]
    shapes = [shape.replace("×", " × ") for shape in measured["operations"]]
    rows = [(name, *(f"{speed:,.0f}" if speed else "" for speed in speeds)) for name, speeds in medians(measured)]
    step = f"ResNet-18 in {measured['step']}, {range_of(measured['step_images_per_s'])} images/s"
    shares = [(name, f"{100 * statistics.median(values):.1f} %") for name, values in measured["presets"].items()]
    presets = layout(
        ["preset, photographs of 96 × 96, cropped from 120 × 120", f"share of a training step of {step}"], shares
    )
    return f"{layout(['images/s', *shapes], rows)}\n\n{presets}"


def optimisations(content: dict[str, Any]) -> str:
    measured = content["without"]
    names = dict.fromkeys(name for case in measured.values() for name in case if name != "all")

    def gain(case: dict[str, Any], name: str) -> str:
        if name not in case:
            return ""
        pairs = zip(case["all"]["images_per_s"], case[name]["images_per_s"], strict=True)
        return range_of([ours / less for ours, less in pairs], digits=2)

    return layout(
        ["speed with / without", *measured], [[name, *(gain(case, name) for case in measured.values())] for name in names]
    )


def decoding(content: dict[str, Any]) -> str:
    sizes = content["decoding"]
    ways = list(next(iter(sizes.values())))
    rows = [
        [f"{size}×{size}", *(range_of(measured[way]["images_per_s"]) for way in ways)] for size, measured in sizes.items()
    ]
    return layout([f"images/s, {content['num_images']:,} JPEGs to", *ways], rows)


def growth(content: dict[str, Any]) -> str:
    rows = [
        [
            axis,
            f"{point['value']:,}",
            f"{point['command_s']:.1f}",
            f"{point['training_s']:.1f}",
            f"{point['images_per_s']:,.0f}",
            f"{point['peak_memory_mb']:,.0f}",
        ]
        for axis, points in content["growth"].items()
        for point in points
    ]
    columns = ["setting", "value", "command, s", "training, s", "images/s", "peak memory, MB"]
    picture = f"![Training time and peak memory against each setting](../{RESULTS}/growth.png)"
    return f"{layout(columns, rows)}\n\n{picture}"


def by_hand(content: dict[str, Any]) -> str:
    rows = [
        [ARMS[arm], percent(statistics.mean(values), statistics.stdev(values)), len(values)]
        for arm, values in content["test_accuracy"].items()
    ]
    return layout(["LeNet on Fashion-MNIST, three epochs", "test accuracy", "seeds"], rows)


def interval(values: Iterable[float], unit: str) -> str:
    ordered = sorted(values)
    low, high = f"{ordered[0]:.1f}", f"{ordered[-1]:.1f}"
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def speed_sentence(content: dict[str, Any]) -> str:
    summaries = [result["summary"] for result in content["cases"].values()]
    faster = interval((summary["lit_cnn/plain"] for summary in summaries), " times")
    share = interval((100 * summary["lit_cnn/ceiling"] for summary in summaries), " %")
    return (
        f"`lit-cnn fit` trains {faster} as fast as the loop that tutorials teach, on {machine(content['environment'])}. "
        f"It reaches {share} of the ceiling, the speed of a loop that only computes."
    )


def forms(content: dict[str, Any]) -> str:
    """Forms of exported networks by the milliseconds that they take."""
    rows = []
    for network, measured in content["forms"].items():
        for form in measured["forms"]:
            one, many = (f"{form['ms'][size]:.2f}" for size in ("1", "32"))
            rows.append([network, form["form"], one, many, f"{100 * form['accuracy']:.1f} %"])
    return layout(
        ["network", "form", "ms, batch of 1", "ms an image, batch of 32", "validation accuracy"], rows, text_columns=2
    )


def load(content: dict[str, Any]) -> str:
    rows = [
        [
            row["clients"],
            f"{row['requests']:,}",
            f"{row['per_s']:,.0f}",
            f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
            row["wrong"],
            f"{row['memory_before'] / 1e6:,.0f} to {row['memory_after'] / 1e6:,.0f}",
        ]
        for row in content["load"]
    ]
    columns = ["clients", "requests", "requests/s", "p50, ms", "p99, ms", "wrong answers", "memory, MB"]
    return layout(columns, rows, text_columns=0)


def files(content: dict[str, Any]) -> str:
    rows = [[f"`{name}`", f"{seconds:.1f}"] for name, seconds in content["seconds"].items()]
    return layout([f"whole command, {content['files']} PNG files", "s"], rows)


def label_errors(content: dict[str, Any]) -> str:
    seeds = content["seeds"]

    def share(part: str, whole: str) -> str:
        return f"{range_of([100 * seed[part] / seed[whole] for seed in seeds], 1)} %"

    rows = [
        ["of the swapped labels are listed (recall)", share("both", "swapped")],
        ["of the listed labels were swapped (precision)", share("both", "listed")],
        ["of the first n were swapped, n being the number of swapped labels", share("first", "swapped")],
    ]
    return layout([f"{content['images']:,} images, {100 * content['share']:.0f} % of the labels swapped", ""], rows)


def fine_tuning(content: dict[str, Any]) -> str:
    """Test accuracy from random and from trained weights, and the gain with its interval over the seeds."""
    groups: dict[tuple[Any, ...], dict[int, dict[str, float]]] = {}
    for run in content["runs"]:
        group = (run["model"], run["weights"], run["target"], run["images_per_class"])
        start = "random" if run["start"] == "random" else "trained"
        groups.setdefault(group, {}).setdefault(run["seed"], {})[start] = run["test/acc"]
    rows = []
    for (model, weights, target, number), by_seed in groups.items():
        pairs = [one for one in by_seed.values() if len(one) == 2]
        if len(pairs) < 2:
            continue
        random, trained = ([pair[start] for pair in pairs] for start in ("random", "trained"))
        gain = paired_difference(random, trained)
        means = [percent(statistics.mean(one), statistics.stdev(one)) for one in (random, trained)]
        ends = " to ".join(f"{100 * end:+.1f}" for end in (gain.low, gain.high))
        shown = f"{100 * gain.value:+.1f} ({ends})"
        rows.append([f"{model}, `{weights}`", target, number or "all", len(pairs), *means, shown])
    columns = ["weights", "fine-tuned on", "images a class", "seeds", "from random weights", "from these weights"]
    return layout([*columns, "gain, points (95 %)"], rows, text_columns=2)
