"""The command ``lit-cnn``. Imports nothing heavy until it knows what is wanted."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from lit_cnn import __version__

# Command: the module whose main() runs it, and what it does.
COMMANDS = {
    "fit": ("lit_cnn.commands.fit", "train a model; with --run FOLDER go on with a run"),
    "validate": ("lit_cnn.commands.fit", "evaluate a run's best checkpoint on its validation images"),
    "test": (
        "lit_cnn.commands.fit",
        "evaluate a run's best checkpoint on the test images; entered into its ledger",
    ),
    "predict": (
        "lit_cnn.commands.predict",
        "classify new images with a run or torchvision's weights, into predictions.csv",
    ),
    "doctor": ("lit_cnn.commands.doctor", "look at data, network and machine before a long training"),
    "models": ("lit_cnn.commands.models", "list the networks with their parameters, multiply-adds and papers"),
    "benchmark": ("lit_cnn.commands.benchmark", "compare the speed of lit-cnn fit with loops written by hand"),
    "summary": ("lit_cnn.commands.summary", "list a network's layers with shapes and counts"),
}


def usage() -> str:
    commands = "\n".join(f"  {name:10} {what}" for name, (_, what) in COMMANDS.items())
    return f"""usage: lit-cnn COMMAND [options]

Train, compare and hand over classic convolutional networks.

commands:
{commands}

lit-cnn COMMAND --help lists a command's options; lit-cnn --version says {__version__}.

examples:
  lit-cnn fit --config experiments/digits/googlenet.yaml --test_after_fit
  lit-cnn fit --model LitGoogLeNet --data ImageFolder --data.data_dir photos/ --trainer.max_epochs 5
  lit-cnn fit --model LitResNet --model.weights IMAGENET1K_V1 --data ImageFolder --data.data_dir photos/
  lit-cnn summary --model resnet18 --image_size 96
  lit-cnn test --run runs/digits/googlenet/20260101-120000-1a2b
  lit-cnn predict --run runs/image_folder/googlenet/20260101-120000-1a2b --images new_photos/
"""


def main() -> int:
    """Runs the command line and returns its exit status."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage(), end="")
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    if arguments[0] not in COMMANDS:
        print(f"lit-cnn: error: unknown command {arguments[0]!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    run: Callable[[list[str]], int] = importlib.import_module(COMMANDS[arguments[0]][0]).main
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
