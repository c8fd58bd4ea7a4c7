"""Architectures, one file each: table of variants, network, LightningModule.

Every file here is imported, so that :func:`build` knows its variants. Add its ``Lit…`` class to the imports below.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

from lit_cnn.models.alexnet import LitAlexNet
from lit_cnn.models.densenet import LitDenseNet
from lit_cnn.models.googlenet import LitGoogLeNet
from lit_cnn.models.lenet import LitLeNet
from lit_cnn.models.mlp import LitMLP
from lit_cnn.models.nin import LitNiN
from lit_cnn.models.resnet import LitResNet
from lit_cnn.models.vgg import LitVGG
from lit_cnn.network.base import Network, Variant, Variants
from lit_cnn.network.names import resolve_variant
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.training.compatibility import find_difference
from lit_cnn.weights.adapt import load_torchvision_weights, start_from
from lit_cnn.weights.shipped_file import find_shipped
from lit_cnn.weights.sources import find_weights

__all__ = [
    "LitAlexNet",
    "LitDenseNet",
    "LitGoogLeNet",
    "LitLeNet",
    "LitMLP",
    "LitNiN",
    "LitResNet",
    "LitVGG",
    "build",
    "describe",
    "find_variant",
    "lightning_module_of",
    "list_variants",
    "load_torchvision_weights",
]
# Arguments of every network.
NUMBERS = {"num_classes", "in_channels"}
# Each architecture's LightningModule by the name of its file; each variant's network, layout and LightningModule.
ARCHITECTURES: dict[str, type[LitClassifier]] = {}
_VARIANTS: Variants[tuple[type[Network], Variant, type[LitClassifier]]] = Variants()

for _info in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_info.name}")
    for _name, _value in list(vars(_module).items()):
        if _name.startswith("Lit") and getattr(_value, "__module__", None) == _module.__name__:
            ARCHITECTURES[_info.name] = _value
            # LitVGG trains VGG.
            _network_name, _file = _name.removeprefix("Lit"), _module.__file__
            _network, _table = getattr(_module, _network_name, None), getattr(_module, "VARIANTS", None)
            if _network is None or _table is None:
                raise ImportError(f"{_file} must define VARIANTS, and the network {_network_name}, which {_name} trains")
            if _duplicates := _VARIANTS.keys() & _table.keys():
                raise ImportError(f"{_file} uses names of other files' variants: {', '.join(_duplicates)}")
            _VARIANTS.update({name: (_network, layout, _value) for name, layout in _table.items()})


def list_variants() -> list[str]:
    """Names of all networks that :func:`build` knows; torchvision's names where torchvision has the network."""
    return list(_VARIANTS)


def describe(name: str) -> Variant:
    """Facts of a variant: paper, image size, classes, published accuracy.

    Raises:
        ValueError: If the variant is unknown; suggests similar ones.
    """
    return _VARIANTS[name][1]


def build(
    name: str,
    num_classes: int | None = None,
    in_channels: int | None = None,
    weights: str | Path | None = None,
    **options: Any,
) -> Network:
    """A network, with random or with trained weights.

    >>> import torch
    >>> build("resnet20", num_classes=3, in_channels=1)(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 3])

    ``build("resnet20", weights="FASHION_MNIST")`` is the network that was trained on Fashion-MNIST, for grey images of ten
    classes; its weights come with the package. ``build("resnet50", num_classes=3, weights="IMAGENET1K_V2")`` has
    torchvision's weights and a new last layer. How images must be normalised for them is in
    ``find_weights("IMAGENET1K_V2", "resnet50")``.

    Args:
        name: One of :func:`list_variants`.
        num_classes: Outputs; by default those that the weights were trained with, if that is known, else those of the
            variant. If the weights have another number, the last layer is new.
        in_channels: Channels of the images; by default as ``num_classes``. The weights of the first convolution are summed
            over the colours for grey images.
        weights: A name of weights that come with the package or of torchvision's, a file or a run, see
            :func:`lit_cnn.weights.sources.find_weights`; random weights if None.
        options: Further arguments of the network, for example ``activation`` of a LeNet. Those that are not given are as
            the weights were trained, if the package brings them.
    Raises:
        ValueError: If the variant or the weights are unknown, if the weights do not fit, or if an argument is out of its
            range.
        OSError: If weights cannot be downloaded.
    """
    name = find_variant(name)
    network_class, layout, trained_by = _VARIANTS[name]
    source = None if weights is None else find_weights(weights, name)
    trained = source.arguments_of(trained_by) if source else {}
    known = inspect.signature(network_class).parameters
    if source and find_shipped(str(weights), name):
        options = {key: trained[key] for key in trained.keys() & known.keys() - NUMBERS} | options
    if source and source.made_by:
        arguments = {key: parameter.default for key, parameter in known.items()} | options | {"variant": name}
        if difference := find_difference(trained_by, arguments, *source.made_by):
            argument, saved, current = difference
            raise ValueError(
                f"the weights of {source.source} do not fit: they were trained with {argument}={saved!r}, "
                f"but the network has {current!r}"
            )
    num_classes = trained.get("num_classes", layout.num_classes) if num_classes is None else num_classes
    in_channels = trained.get("in_channels", layout.in_channels) if in_channels is None else in_channels
    network = network_class(layout, num_classes, in_channels, **options)
    if source:
        start_from(network, source)
    return network


def lightning_module_of(name: str) -> type[LitClassifier]:
    """The LightningModule that trains a variant.

    Raises:
        ValueError: If the variant is unknown; suggests similar ones.
    """
    return _VARIANTS[name][2]


def find_variant(name: str) -> str:
    """A variant by its own name, or an architecture's default variant by the name of its file or class: ``vgg``, ``LitVGG``.

    Raises:
        ValueError: If the name is unknown; suggests similar variants.
    """
    classes = {cls.__name__: cls for cls in ARCHITECTURES.values()} | ARCHITECTURES
    defaults = {key: inspect.signature(cls).parameters["variant"].default for key, cls in classes.items()}
    return resolve_variant(name, _VARIANTS, defaults)
