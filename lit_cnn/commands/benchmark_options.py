"""The options of ``lit-cnn benchmark``; nothing heavy is imported for them."""

from __future__ import annotations

import argparse
from pathlib import Path

from lit_cnn.benchmark.case import CASES, COMPILE_MODES
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.output import check_output

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


# The suites that use an option; all use --output.
_OF_CASES = ("speed", "optimisations")
USED_BY = {
    "device": (*_OF_CASES, "augmentation", "growth", "recipes"),
    "data_dir": (*_OF_CASES, "accuracy", "recipes"),
    "repeats": (*_OF_CASES, "decoding", "augmentation", "growth"),
    "seconds": (*_OF_CASES, "augmentation"),
    **dict.fromkeys(("case", "model", "data", "image_size", "batch_size", "phase", "compile"), _OF_CASES),
    "workers": ("speed",),
    **dict.fromkeys(("recipe", "seeds", "epochs", "runs_dir"), ("recipes",)),
}
OF_MODEL = ("data", "image_size", "batch_size")


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
    _refuse_ignored(parser, options)
    if options.seconds <= 0:
        parser.error(f"seconds must be above 0, got {options.seconds}")
    if options.model and options.case:
        parser.error("--model is a case of its own: leave out --case")
    if options.output:
        _check_output(options.output, takes_folder=options.suite == "recipes")
    return options


def _refuse_ignored(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuses options that the suite does not use."""
    given = [name for name in USED_BY if getattr(options, name) != parser.get_default(name)]
    for name in given:
        if options.suite not in USED_BY[name]:
            parser.error(f"--{name} does nothing in the suite {options.suite}; it is for {', '.join(USED_BY[name])}")
        if name in OF_MODEL and not options.model:
            parser.error(f"--{name} belongs to --model: the usual cases have their own")


def _check_output(output: str, takes_folder: bool) -> None:
    if takes_folder and output.endswith("/") and not Path(output).is_dir():
        raise ValueError(f"there is no folder {output}: make it, or name a file")
    if not (takes_folder and Path(output).is_dir()):
        check_output(Path(output))
