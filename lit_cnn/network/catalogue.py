"""Facts of all variants, read from a file: commands look them up without importing torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lit_cnn.network.names import resolve_variant

# Beside the architectures that it describes. It is only data: importing that package would import torch.
CATALOGUE = Path(__file__).parent.parent / "models" / "catalogue.json"


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """Facts of a variant.

    Args:
        class_name: The LightningModule that trains it, such as ``LitResNet``.
        module: Name of that class's file in ``lit_cnn/models``, such as ``resnet``.
        is_default: Whether that class builds this variant if none is named.
        num_parameters: Weights and biases.
        multiply_adds: Of convolutions and linear layers, for one image of ``input_shape``.
        input_shape: Channels, height and width of the images that the variant was made for.
        num_classes: Outputs that the variant was made with.
        min_size: Smallest height and width that it takes, in pixels.
        max_size: Largest height and width; None without a limit.
        paper: Authors and year.
        accuracy: Published top-1 accuracy with its dataset and source; empty if none was published.
        weights: Names of torchvision's weights, without its aliases.
    """

    class_name: str
    module: str
    is_default: bool
    num_parameters: int
    multiply_adds: int
    input_shape: tuple[int, int, int]
    num_classes: int
    min_size: int
    max_size: int | None
    paper: str
    accuracy: str
    weights: tuple[str, ...]


def read_catalogue(path: Path = CATALOGUE) -> dict[str, CatalogueEntry]:
    """All variants by name, in the order of :func:`lit_cnn.models.list_variants`.

    >>> read_catalogue()["resnet50"].class_name
    'LitResNet'
    """
    facts = json.loads(path.read_text(encoding="utf-8"))
    tuples = ("input_shape", "weights")
    return {name: CatalogueEntry(**entry | {key: tuple(entry[key]) for key in tuples}) for name, entry in facts.items()}


def write_catalogue(entries: dict[str, CatalogueEntry], path: Path = CATALOGUE) -> None:
    """Writes the file that :func:`read_catalogue` reads, one line for each variant."""
    lines = [f"{json.dumps(name)}: {json.dumps(asdict(entry), ensure_ascii=False)}" for name, entry in entries.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def find_in_catalogue(name: str) -> tuple[str, CatalogueEntry]:
    """A variant and its facts, without importing torch.

    >>> find_in_catalogue("LitVGG")[0]
    'vgg11_bn_small'

    Args:
        name: A variant, or an architecture by the name of its file or class, which stands for its default variant.

    Raises:
        ValueError: If the name is unknown; suggests similar variants.
    """
    entries = read_catalogue()
    variant = resolve_variant(name, entries, default_variants(entries))
    return variant, entries[variant]


def default_variants(entries: dict[str, CatalogueEntry]) -> dict[str, str]:
    """Each architecture's default variant, by the names of its file and its class: ``vgg`` and ``LitVGG``."""
    defaults = [(name, entry) for name, entry in entries.items() if entry.is_default]
    return {key: name for name, entry in defaults for key in (entry.module, entry.class_name)}
