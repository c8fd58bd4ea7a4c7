"""The command ``lit-cnn``. Imports nothing heavy until it knows what is wanted."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from lit_cnn import __version__

# Command: the module whose main() runs it, and what it does.
COMMANDS = {
    "fit": ("lit_cnn.commands.fit", "train a network"),
    "resume": ("lit_cnn.commands.fit", "continue a run from its last checkpoint"),
    "validate": ("lit_cnn.commands.evaluate", "evaluate a run's best checkpoint on its validation images"),
    "test": ("lit_cnn.commands.evaluate", "evaluate a run's best checkpoint on the test images; entered in its ledger"),
    "predict": ("lit_cnn.commands.predict", "classify new images with a run or published weights"),
    "export": ("lit_cnn.commands.export", "write a run as ONNX, torch.export, safetensors or OpenVINO, and prove it"),
    "bench-export": ("lit_cnn.commands.bench_export", "measure the speed and the accuracy of a run in each form"),
    "serve": ("lit_cnn.commands.serve", "classify images over HTTP, with a page to drop them on"),
    "explain": ("lit_cnn.commands.explain", "show which places of images a network's answers depend on"),
    "embed": ("lit_cnn.commands.embed", "write the features of images: what the network computes before its last layer"),
    "report": ("lit_cnn.commands.report", "write all that is known of a run on one HTML page"),
    "label-errors": ("lit_cnn.commands.label_errors", "find training images that are likely to have a wrong label"),
    "runs": ("lit_cnn.commands.runs", "list the runs, newest first"),
    "claims": ("lit_cnn.commands.claims", "list, run and show the statements about the networks with their verdicts"),
    "compare": ("lit_cnn.commands.compare", "compare runs over seeds and images: which is better, and by how much"),
    "find-lr": ("lit_cnn.commands.find_lr", "find a learning rate by a range test on a copy of the network"),
    "show-batch": ("lit_cnn.commands.show_batch", "draw training images as they are stored and as the network sees them"),
    "doctor": ("lit_cnn.commands.doctor", "check data, network and machine before a long training"),
    "models": ("lit_cnn.commands.models", "list the networks with their parameters, multiply-adds and papers"),
    "summary": ("lit_cnn.commands.summary", "list a network's layers with shapes and counts"),
    "leaderboard": ("lit_cnn.commands.leaderboard", "list what the recipes reach, beside the figures of others"),
    "benchmark": ("lit_cnn.commands.benchmark", "compare the speed of lit-cnn fit with loops written by hand"),
}
# What fit is with several seeds.
SEEDS = "lit_cnn.commands.seeds"
# Commands whose result is kept in files: they continue when their output cannot be written to.
LASTING = ("fit", "resume", "validate", "test", "benchmark", "claims", "serve", "label-errors")
# Commands whose options Lightning's parser reads: they are checked before it is imported, which takes seconds.
PARSED_BY_LIGHTNING = ("fit", "resume", "validate", "test")


def usage() -> str:
    commands = "\n".join(f"  {name:12} {what}" for name, (_, what) in COMMANDS.items())
    return f"""usage: lit-cnn COMMAND [options]

Train, compare and hand over classic convolutional networks.

commands:
{commands}

lit-cnn COMMAND --help lists a command's options; lit-cnn --version prints {__version__}.

examples:
  lit-cnn fit --config experiments/digits/googlenet.yaml --test_after_fit
  lit-cnn fit --model resnet18 --data photos/
  lit-cnn fit --model resnet50 --model.weights IMAGENET1K_V1 --model.freeze backbone --data photos/
  lit-cnn resume latest
  lit-cnn test --run latest
  lit-cnn predict --run latest --images new_photos/
  lit-cnn fit --config experiments/digits/lenet.yaml --seeds 5 --test_after_fit
  lit-cnn compare runs/digits/lenet runs/digits/lenet_bn
  lit-cnn report latest
  lit-cnn claims show 14
  lit-cnn summary --model resnet18 --image_size 96
"""


def main() -> int:
    """Runs the command line and returns its exit status."""
    from lit_cnn.system.terminal import readable_output, use_utf8

    use_utf8("lit_cnn")
    with readable_output(must_succeed="".join(sys.argv[1:2]) not in LASTING):
        return _run_with_messages()


def _run_with_messages() -> int:
    import lit_cnn.system.processors  # noqa: F401 - measures from now on what other programs use
    from lit_cnn.commands.messages import one_line_errors

    with one_line_errors():
        status = run(sys.argv[1:])
        sys.stdout.flush()
    return status


def run(arguments: list[str]) -> int:
    """Runs a command."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage(), end="")
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    if arguments[0] not in COMMANDS:
        raise ValueError(f"unknown command {arguments[0]!r}; there are {', '.join(COMMANDS)}")
    if arguments[0] in PARSED_BY_LIGHTNING:
        from lit_cnn.commands.arguments import prepare

        arguments = prepare(*arguments)
    several = arguments[0] == "fit" and any(word.startswith("--seeds=") for word in arguments)
    command: Callable[[list[str]], int] = importlib.import_module(SEEDS if several else COMMANDS[arguments[0]][0]).main
    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
