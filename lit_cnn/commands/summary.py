"""``lit-cnn summary``: of which layers a network is made."""

from __future__ import annotations

from lit_cnn.commands.messages import quiet
from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.tables import print_table
from lit_cnn.network.catalogue import CatalogueEntry, find_in_catalogue


def print_summary(
    variant: str,
    entry: CatalogueEntry,
    image_size: int | None,
    in_channels: int | None,
    num_classes: int | None,
    depth: int | None,
) -> None:
    """Prints a network's layers with shapes and counts.

    Raises:
        ValueError: If a number is out of its range, or the network does not take such images.
    """
    import torch

    from lit_cnn import models
    from lit_cnn.layers.checks import require_positive
    from lit_cnn.network.counting import list_layers

    size = entry.input_shape[-1] if image_size is None else image_size
    require_positive(image_size=size)
    # A network without values: its shapes and counts need none.
    with torch.device("meta"):
        network = models.build(variant, num_classes=num_classes, in_channels=in_channels)
        images = torch.empty(1, network.in_channels, size, size)
    *layers, whole = list_layers(network, images, depth)
    print(f"{variant} ({entry.paper}), one image of {network.in_channels}×{size}×{size}\n")
    rows = [
        (
            layer.name,
            layer.class_name,
            "×".join(map(str, layer.output_shape[1:])),
            f"{layer.num_parameters:,}",
            f"{layer.multiply_adds:,}",
        )
        for layer in layers
    ]
    numbers = ("output", "parameters", "multiply-adds")
    print_table(("layer", "class", *numbers), rows, right=numbers)
    print(
        f"\n{whole.num_parameters:,} parameters ({whole.num_parameters * 4 / 1e6:,.1f} MB in float32), "
        f"{whole.multiply_adds:,} multiply-adds of convolutions and linear layers"
    )


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn summary`` and returns the exit status."""
    parser = OneLineParser(prog="lit-cnn summary", description="List a network's layers with their shapes and counts.")
    parser.add_argument("--model", required=True, help="a name of lit-cnn models, for example resnet18")
    parser.add_argument("--image_size", type=int, help="height and width of the image (default: the variant's own)")
    parser.add_argument("--in_channels", type=int, help="channels of the image (default: the variant's own)")
    parser.add_argument("--num_classes", type=int, help="outputs (default: the variant's own)")
    parser.add_argument("--depth", type=int, help="how deep to look into blocks; 1 for the network's own parts")
    options = parser.parse_args(arguments[1:])
    quiet()
    # An unknown name ends here, before the seconds that importing torch and Lightning takes.
    variant, entry = find_in_catalogue(options.model)
    print_summary(variant, entry, options.image_size, options.in_channels, options.num_classes, options.depth)
    return 0
