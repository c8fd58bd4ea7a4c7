"""Arguments of a network that follow from the weights that it starts from."""

from __future__ import annotations

import json
from typing import Any

from lit_cnn.commands.command_line import Arguments
from lit_cnn.commands.options import options_by_class, options_of
from lit_cnn.network.catalogue import default_variants, read_catalogue
from lit_cnn.weights.shipped_file import find_shipped, trained_arguments


def take_arguments_of_weights(arguments: Arguments, model: str | None, configured: dict[str, Any]) -> None:
    """Builds a network as that of weights of the package was built, in what the user does not choose otherwise.

    Args:
        arguments: As typed; those of the weights are added.
        model: Class of the model; None if it is not known.
        configured: Arguments of the model in configurations, by name.
    """
    known = options_of("model", model)
    if known is None or model is None or "--run" in arguments.names:  # a run has all arguments
        return
    typed = [(name.removeprefix("--model."), value) for name, value in arguments.options if name.startswith("--model.")]
    given = configured | {name.removeprefix("init_args."): value for name, value in typed}
    variant = given.get("variant") or default_variants(read_catalogue()).get(model.rpartition(".")[2])
    if file := find_shipped(str(given.get("weights")), variant):
        trained = trained_arguments(file)
        of_network = known - options_by_class()["LitClassifier"] - {"variant"}
        for name in sorted(of_network & trained.keys() - given.keys()):
            value = trained[name]
            arguments.options.append((f"--model.{name}", value if isinstance(value, str) else json.dumps(value)))
