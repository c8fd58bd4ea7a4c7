"""Arguments of a network that follow from the weights that it starts from."""

from __future__ import annotations

from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.options import options_by_class
from lit_cnn.weights.shipped_file import find_shipped, trained_arguments


def take_arguments_of_weights(arguments: Arguments) -> None:
    """Builds a network as that of weights of the package was built, in what the user does not choose otherwise."""
    network, variant = arguments.last("--model"), arguments.last("--model.variant", "--model.init_args.variant")
    file = find_shipped(arguments.last("--model.weights", "--model.init_args.weights") or "", variant)
    if file and network in options_by_class():
        of_network = options_by_class()[network] - options_by_class()["LitClassifier"] - {"variant"}
        trained = {f"--model.{name}": str(value) for name, value in trained_arguments(file).items() if name in of_network}
        arguments.replace("--model", {"--model": network, **trained})
