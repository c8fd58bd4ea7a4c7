"""``lit-cnn benchmark``: measures speed and accuracy on this machine, and prints tables of the results.

Imports nothing heavy before the options are read.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lit_cnn.benchmark.case import CASES, COMPILE_MODES, MADE_JPEGS, Case, make_case, with_images
from lit_cnn.commands.messages import OneLineParser, quiet
from lit_cnn.commands.output import check_output
from lit_cnn.commands.tables import print_table

SUITES = {
    "speed": "lit-cnn fit beside three loops by hand",
    "optimisations": "lit-cnn fit without each of its optimisations",
    "decoding": "JPEGs, decoded as lit-cnn does and in two other ways",
    "augmentation": "each random change of images, and the presets beside a training step",
    "growth": "time and memory of lit-cnn fit against images, image size, batch size, workers and processes",
    "accuracy": "LeNet on Fashion-MNIST by hand and by lit-cnn fit, on the CPU",
    "recipes": "test accuracy of recipes over several seeds",
}
ARMS_HELP = """
The arms of the suite speed:
  plain      the loop that tutorials teach: one image at a time, float32
  lightning  the same network and loader in a plain LightningModule
  lit_cnn    lit-cnn fit, as users get it
  ceiling    a loop by hand on one batch that lies on the device already; the most that this machine can do
"""


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads and checks the options."""
    suites = "\n".join(f"  {name:14} {what}" for name, what in SUITES.items())
    parser = OneLineParser(
        prog="lit-cnn benchmark",
        description="Measure speed and accuracy on this machine.\n\nThe suites:\n" + suites,
        epilog=ARMS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--suite", choices=SUITES, default="speed", help="what to measure (default: %(default)s)")
    parser.add_argument(
        "--output",
        help="JSON file for all results and the environment; growth adds a picture, .png; for recipes also a folder, which "
        "gets DATASET/RECIPE.json for each",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is a GPU, else cpu")
    parser.add_argument("--data_dir", "--data-dir", help="folder of the dataset's files (default: data)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds over all that is compared (default: %(default)s)")
    cases = parser.add_argument_group("speed, optimisations")
    cases.add_argument("--case", choices=CASES, action="append", help="a usual case; repeatable (default: all)")
    cases.add_argument("--model", help="another case: a variant or an architecture, see lit-cnn models")
    cases.add_argument(
        "--data",
        default="fashion_mnist",
        help="with --model: fashion_mnist, synthetic (images as the network was published for), or a folder with a folder "
        "of images for each class (default: %(default)s; without its files, synthetic images of its shape)",
    )
    cases.add_argument("--image_size", "--image-size", type=int, help="with --model, in pixels (default: the variant's own)")
    cases.add_argument("--batch_size", "--batch-size", type=int, default=128, help="with --model (default: %(default)s)")
    cases.add_argument("--phase", choices=("train", "eval"), default="train", help="default: %(default)s")
    cases.add_argument(
        "--compile",
        nargs="?",
        const="default",
        choices=COMPILE_MODES,
        help="use torch.compile in lit_cnn and ceiling, in one of its modes (without a value: %(const)s)",
    )
    cases.add_argument("--seconds", type=float, default=8.0, help="length of each measurement (default: %(default)s)")
    cases.add_argument("--workers", type=int, help="of plain and lightning, for speed (default: the fastest, by trial)")
    recipes = parser.add_argument_group("recipes")
    recipes.add_argument(
        "--recipe", nargs="+", action="extend", help="YAML files; repeatable (default: all of experiments/digits)"
    )
    recipes.add_argument("--seeds", type=int, default=3, help="how many: 0, 1, … (default: %(default)s)")
    recipes.add_argument("--epochs", type=int, help="epochs of each training (default: the recipe's)")
    recipes.add_argument("--runs_dir", "--runs-dir", help="folder in which the trainings stay (default: they are deleted)")
    options = parser.parse_args(arguments)
    for name in ("repeats", "batch_size", "seeds", "epochs", "image_size"):
        count = getattr(options, name)
        if count is not None and count < 1:
            parser.error(f"{name} must be a whole number of at least 1, got {count}")
    if options.workers is not None and options.workers < 0:
        parser.error(f"workers must be a whole number of at least 0, got {options.workers}")
    if options.workers is not None and options.suite != "speed":
        parser.error("--workers is for the suite speed")
    if options.seconds <= 0:
        parser.error(f"seconds must be above 0, got {options.seconds}")
    if options.model and options.case:
        parser.error("--model is a case of its own: leave out --case")
    if options.output:
        _check_output(options.output, takes_folder=options.suite == "recipes")
    return options


def _check_output(output: str, takes_folder: bool) -> None:
    if takes_folder and output.endswith("/") and not Path(output).is_dir():
        raise ValueError(f"there is no folder {output}: make it, or name a file")
    if not (takes_folder and Path(output).is_dir()):
        check_output(Path(output))


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn benchmark`` and returns the exit status."""
    options = parse(arguments[1:])
    suites: dict[str, Callable[[argparse.Namespace], None]] = {
        "speed": _speed,
        "optimisations": _optimisations,
        "decoding": _decoding,
        "augmentation": _augmentation,
        "growth": _growth,
        "accuracy": _accuracy,
        "recipes": _recipes,
    }
    quiet()
    if options.device is None:
        import torch

        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    suites[options.suite](options)
    return 0


def _report(line: str) -> None:
    print(line, flush=True)


def _cases(options: argparse.Namespace) -> Iterator[tuple[str, Case]]:
    """Cases, one after the other, with the settings that hold for all."""
    if options.model:
        case = make_case(options.model, options.data, options.image_size, options.batch_size)
        cases = {case.model: case}
    else:
        cases = {name: CASES[name] for name in options.case or CASES}
    settings = {name: getattr(options, name) for name in ("phase", "device", "seconds", "compile")}
    cases = {name: replace(case, data_dir=options.data_dir or "data", **settings) for name, case in cases.items()}
    return with_images(cases, _report)


def _speed(options: argparse.Namespace) -> None:
    from lit_cnn.analysis.provenance import save
    from lit_cnn.benchmark.speed import measure_speed, summarise

    results: dict[str, Any] = {}
    for name, case in _cases(options):
        result = measure_speed(case, options.repeats, _report, options.workers)
        if CASES.get(name) and CASES[name].data == MADE_JPEGS:
            result["case"]["data"] = MADE_JPEGS  # not the temporary folder
        result["summary"] = summarise(result)
        results[name] = result
        save(options.output, cases=results)
        _print_speed(name, result)


def _print_speed(name: str, result: dict[str, Any]) -> None:
    case, summary = result["case"], result["summary"]
    size = f"{case['image_size']}×{case['image_size']}"
    details = f"batches of {case['batch_size']}, {case['data']}, {case['phase']}, {case['device']}"
    print(f"\n{name}: {case['model']} at {size}, {details}")
    rows = []
    for arm in result["arms"]:
        row = summary[arm]
        memory = row.get("peak_device_memory_mb", row["peak_memory_mb"])
        spread = f"{row['lowest']:,.0f} to {row['highest']:,.0f}"
        rows.append((arm, f"{row['images_per_s']:,.0f}", spread, f"{row['first_step_s']:.1f} s", f"{memory:,.0f} MB"))
    columns = ("arm", "images/s", "lowest to highest", "first step after", "peak memory")
    print_table(columns, rows, right=columns[1:])
    print(", ".join(f"{ratio} {value:.2f}" for ratio, value in summary.items() if "/" in ratio))
    print(f"workers of plain and lightning: {result['workers']}; ceiling: {case['ceiling']}\n", flush=True)


def _optimisations(options: argparse.Namespace) -> None:
    from lit_cnn.analysis.provenance import save
    from lit_cnn.benchmark.optimisations import measure_optimisations

    results: dict[str, Any] = {}
    for name, case in _cases(options):
        results[name] = measure_optimisations(case, options.repeats, _report)
        save(options.output, phase=options.phase, without=results)
        print(f"\n{name}: {case.model} at {case.image_size}×{case.image_size}, {case.phase}")
        rows = [
            ("all optimisations" if without == "all" else f"without {without}", *_speed_and_gain(measured))
            for without, measured in results[name].items()
        ]
        print_table(("lit-cnn", "images/s", "gain"), rows, right=("images/s", "gain"))
        print(flush=True)


def _speed_and_gain(measured: dict[str, Any]) -> tuple[str, str]:
    gain = f"{measured['gain']:.2f}" if "gain" in measured else ""
    return f"{statistics.median(measured['images_per_s']):,.0f}", gain


def _decoding(options: argparse.Namespace) -> None:
    from lit_cnn.analysis.provenance import save
    from lit_cnn.benchmark.decoding import measure_decoding
    from lit_cnn.benchmark.photos import NUM_JPEGS, make_folder

    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder))
        results = measure_decoding(sorted(Path(folder).glob("*/*.jpg")), options.repeats, _report)
    save(options.output, num_images=NUM_JPEGS, decoding=results)
    rows = [
        (f"{size}×{size}", way, *_speed_and_gain(measured))
        for size, ways in results.items()
        for way, measured in ways.items()
    ]
    print()
    print_table(("size", "decoder", "images/s", "lit-cnn is faster by"), rows, right=("images/s", "lit-cnn is faster by"))


def _augmentation(options: argparse.Namespace) -> None:
    from lit_cnn.analysis.provenance import save
    from lit_cnn.benchmark.augmentation import measure_augmentation, medians
    from lit_cnn.system.memory import keep_freed_memory

    keep_freed_memory()  # as lit-cnn fit does
    measured = measure_augmentation(options.device, options.seconds, options.repeats, _report)
    save(options.output, augmentation=measured)
    columns = ("images/s", *measured["operations"])
    rows = [(name, *(f"{speed:,.0f}" if speed else "" for speed in speeds)) for name, speeds in medians(measured)]
    print()
    print_table(columns, rows, right=columns[1:])
    print()
    rows = [(name, f"{statistics.median(shares):.1%}") for name, shares in measured["presets"].items()]
    print_table(("preset, photographs", "of a step of ResNet-18 at 96×96"), rows, right=("of a step of ResNet-18 at 96×96",))


def _growth(options: argparse.Namespace) -> None:
    from lit_cnn.analysis.provenance import save
    from lit_cnn.benchmark.growth import measure_growth, plot_growth

    for rows in measure_growth(options.device, options.repeats, _report):
        save(options.output, growth=rows)
        if options.output:
            plot_growth(rows, Path(options.output).with_suffix(".png"))
    columns = ("axis", "value", "command", "training", "images/s", "peak memory")
    cells = [
        (
            axis,
            f"{point['value']:,}",
            f"{point['command_s']:,.1f} s",
            f"{point['training_s']:,.1f} s",
            f"{point['images_per_s']:,.0f}",
            f"{point['peak_memory_mb']:,.0f} MB",
        )
        for axis, points in rows.items()
        for point in points
    ]
    print("\nmedians of all rounds")
    print_table(columns, cells, right=columns[1:])


def _accuracy(options: argparse.Namespace) -> None:
    from lit_cnn.analysis.provenance import save
    from lit_cnn.benchmark.accuracy import EPOCHS, compare_accuracy

    accuracies = compare_accuracy(options.data_dir or "data", _report)
    save(options.output, epochs=EPOCHS, test_accuracy=accuracies)
    print(f"\nLeNet on Fashion-MNIST, {EPOCHS} epochs, {len(accuracies['plain'])} seeds")
    rows = [(arm, _mean_and_sd(statistics.mean(values), statistics.stdev(values))) for arm, values in accuracies.items()]
    print_table(("arm", "test accuracy"), rows)


def _mean_and_sd(mean: float, sd: float | None) -> str:
    return f"{mean:.2%}" + (f" ± {sd:.2%}" if sd is not None else "")


def _recipes(options: argparse.Namespace) -> None:
    from lit_cnn.benchmark.leaderboard import summarise_recipes
    from lit_cnn.benchmark.recipes import find_recipes, measure_recipes

    recipes = find_recipes(options.recipe)
    settings = {name: getattr(options, name) for name in ("output", "device", "data_dir", "epochs", "runs_dir")}
    runs = measure_recipes(recipes, options.seeds, _report, **settings)
    columns = ("recipe", "epochs", "seeds", "test accuracy", "val accuracy", "training", "images/s")
    rows = [
        (
            row.recipe,
            row.epochs,
            ", ".join(map(str, row.seeds)),
            _mean_and_sd(row.mean, row.sd),
            f"{row.val_mean:.2%}",
            f"{row.seconds:,.0f} s",
            f"{row.images_per_s:,.0f}",
        )
        for row in summarise_recipes(runs)
    ]
    print()
    print_table(columns, rows, right=columns[3:])
