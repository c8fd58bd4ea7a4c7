"""``lit-cnn models``: which networks there are. Imports neither torch nor Lightning, so that it answers at once."""

from __future__ import annotations

from fnmatch import fnmatch

from lit_cnn.commands.one_line_parser import OneLineParser
from lit_cnn.commands.tables import print_table
from lit_cnn.network.catalogue import CatalogueEntry, read_catalogue
from lit_cnn.weights.shipped_file import list_shipped

COLUMNS = (
    "name",
    "trained by",
    "parameters",
    "multiply-adds",
    "counted at",
    "smallest",
    "paper",
    "published accuracy",
    "weights",
)


def find_models(pattern: str) -> dict[str, CatalogueEntry]:
    """Variants whose name contains or matches the pattern, or whose class is called so; the oldest paper first.

    Raises:
        ValueError: If there are none.
    """
    wanted = pattern.lower()
    matches = {
        name: entry
        for name, entry in read_catalogue().items()
        if fnmatch(name, wanted) or wanted in name or wanted == entry.class_name.lower()
    }
    if not matches:
        raise ValueError(f"no network is called like {pattern!r}; lit-cnn models lists all")
    return dict(sorted(matches.items(), key=lambda item: item[1].paper[-4:]))


def print_models(models: dict[str, CatalogueEntry]) -> None:
    """Prints a row for each variant. Of its weights, those of the package come before torchvision's."""
    shipped = list_shipped()
    rows = [
        (
            name,
            entry.class_name,
            f"{entry.num_parameters:,}",
            f"{entry.multiply_adds:,}",
            "×".join(map(str, entry.input_shape)),
            entry.min_size,
            entry.paper,
            entry.accuracy or "-",
            ", ".join([*shipped.get(name, ()), *entry.weights]) or "-",
        )
        for name, entry in models.items()
    ]
    print_table(COLUMNS, rows, right=("parameters", "multiply-adds", "counted at", "smallest"))


def main(arguments: list[str]) -> int:
    """Runs ``lit-cnn models`` and returns the exit status."""
    parser = OneLineParser(
        prog="lit-cnn models", description="List the networks with their counts and papers, the oldest first."
    )
    parser.add_argument("pattern", nargs="?", default="", help="only names that contain or match this: resnet, 'vgg*_bn'")
    options = parser.parse_args(arguments[1:])
    print_models(find_models(options.pattern))
    return 0
