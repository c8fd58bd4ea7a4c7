"""What networks there are, and of what they are made: ``lit-cnn models`` and ``lit-cnn summary``."""

from __future__ import annotations

import argparse
from fnmatch import fnmatch
from typing import Any

import torch

from lit_cnn import models
from lit_cnn.commands.messages import one_line_errors, quiet
from lit_cnn.layers.checks import require_positive
from lit_cnn.network.base import Network
from lit_cnn.network.counting import count_multiply_adds, count_parameters, list_layers


def on_meta(variant: str, **arguments: Any) -> Network:
    """A network without values: to be counted, not computed."""
    with torch.device("meta"):
        return models.build(variant, **arguments)


def print_models(pattern: str) -> None:
    """Prints a line for each variant whose name holds, or matches, the pattern; the oldest paper first."""
    wanted = pattern.lower()
    names = []
    for name in models.list_variants():
        trained_by = models.lightning_module_of(name).__name__.lower()
        if fnmatch(name, wanted) or wanted in name or wanted == trained_by:
            names.append(name)
    if not names:
        raise ValueError(f"no network is called like {pattern!r}; lit-cnn models lists all")
    name_width = max(map(len, names))
    paper_width = max(len(models.describe(name).paper) for name in names)
    row = f"{{:<{name_width}}}  {{:<12}}  {{:>11}}  {{:>14}}  {{:>10}}  {{:>8}}  {{:<{paper_width}}}  {{}}"
    titles = ("name", "trained by", "parameters", "multiply-adds", "counted at", "smallest", "paper", "published accuracy")
    print(row.format(*titles).rstrip())
    for name in sorted(names, key=lambda name: models.describe(name).paper[-4:]):
        about = models.describe(name)
        network = on_meta(name)
        images = torch.empty(1, about.in_channels, about.image_size, about.image_size, device="meta")
        line = row.format(
            name,
            models.lightning_module_of(name).__name__,
            f"{count_parameters(network):,}",
            f"{count_multiply_adds(network, images):,}",
            f"{about.in_channels}×{about.image_size}×{about.image_size}",
            about.min_size,
            about.paper,
            about.accuracy or "-",
        )
        print(line, flush=True)


def print_summary(
    model: str, image_size: int | None, in_channels: int | None, num_classes: int | None, depth: int | None
) -> None:
    """Prints a network's layers with shapes and counts."""
    variant = models.find_variant(model)
    about = models.describe(variant)
    size = about.image_size if image_size is None else image_size
    network = on_meta(variant, num_classes=num_classes, in_channels=in_channels)
    images = torch.empty(1, network.in_channels, size, size, device="meta")
    *layers, whole = list_layers(network, images, depth)
    rows = [("layer", "kind", "output", "parameters", "multiply-adds")]
    for layer in layers:
        shape = "×".join(map(str, layer.output_shape[1:]))
        rows.append((layer.name, layer.kind, shape, f"{layer.num_parameters:,}", f"{layer.multiply_adds:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(f"{variant} ({about.paper}), one image of {network.in_channels}×{size}×{size}\n")
    for name, kind, shape, parameters, operations in rows:
        print(
            f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {shape:>{widths[2]}}  "
            f"{parameters:>{widths[3]}}  {operations:>{widths[4]}}"
        )
    print(
        f"\n{whole.num_parameters:,} parameters ({whole.num_parameters * 4 / 1e6:,.1f} MB in float32), "
        f"{whole.multiply_adds:,} multiply-adds of convolutions and linear layers"
    )


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn models`` or ``lit-cnn summary`` and returns the exit status."""
    command, *rest = arguments
    parser = argparse.ArgumentParser(prog=f"lit-cnn {command}")
    if command == "models":
        parser.description = "List the networks, with their counts and papers."
        parser.add_argument("pattern", nargs="?", default="", help="only names that hold or match this: resnet, 'vgg*_bn'")
    else:
        parser.description = "List a network's layers, with their shapes and counts."
        parser.add_argument("--model", required=True, help="a name of lit-cnn models, for example resnet18")
        parser.add_argument("--image_size", type=int, help="height and width of the image (default: the variant's own)")
        parser.add_argument("--in_channels", type=int, help="channels of the image (default: the variant's own)")
        parser.add_argument("--num_classes", type=int, help="outputs (default: the variant's own)")
        parser.add_argument("--depth", type=int, help="how deep to look into blocks; 1 for the network's own parts")
    options = parser.parse_args(rest)
    quiet()
    with one_line_errors():
        if command == "models":
            print_models(options.pattern)
        else:
            if options.image_size is not None:
                require_positive(image_size=options.image_size)
            print_summary(**vars(options))
    return 0
