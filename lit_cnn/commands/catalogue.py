"""Builds every network and writes its facts into the file that commands read: ``make catalogue``."""

from __future__ import annotations

import inspect
import sys

import torch
from torchvision.models import get_model_weights, list_models

from lit_cnn import models
from lit_cnn.network.catalogue import CATALOGUE, CatalogueEntry, write_catalogue
from lit_cnn.network.counting import count_multiply_adds, count_parameters


def describe_variant(name: str) -> CatalogueEntry:
    """Facts of a variant from its table and from its network, which is built without values."""
    layout = models.describe(name)
    cls = models.lightning_module_of(name)
    with torch.device("meta"):
        network = models.build(name)
        images = torch.empty(1, layout.in_channels, layout.image_size, layout.image_size)
    return CatalogueEntry(
        class_name=cls.__name__,
        module=cls.__module__.rpartition(".")[2],
        is_default=name == inspect.signature(cls).parameters["variant"].default,
        num_parameters=count_parameters(network),
        multiply_adds=count_multiply_adds(network, images),
        input_shape=(layout.in_channels, layout.image_size, layout.image_size),
        num_classes=layout.num_classes,
        min_size=layout.min_size,
        max_size=layout.max_size,
        paper=layout.paper,
        accuracy=layout.accuracy,
        weights=_weights_of(name),
    )


def _weights_of(name: str) -> tuple[str, ...]:
    """Names of torchvision's weights. Without classes, they are of the feature layers alone: others hold no numbers."""
    members = get_model_weights(name) if name in list_models() else ()
    return tuple(member.name for member in members if member.meta["categories"])


def main() -> int:
    """Writes the facts of all variants and returns the exit status."""
    entries = {name: describe_variant(name) for name in models.list_variants()}
    write_catalogue(entries)
    print(f"{CATALOGUE}: {len(entries)} variants")
    return 0


if __name__ == "__main__":
    sys.exit(main())
