"""Architectures, one file each: table of variants, network, LightningModule.

Every module here is imported; its ``Lit…`` class is offered under this name and its variants by :func:`build`, so a new
architecture is a new file.
"""

import importlib
import inspect
import pkgutil
from typing import Any

from lit_cnn.network.base import Network, Variant, Variants
from lit_cnn.network.names import resolve_variant
from lit_cnn.training.classifier import LitClassifier
from lit_cnn.weights.adapt import load_torchvision_weights

__all__ = ["build", "describe", "find_variant", "lightning_module_of", "list_variants", "load_torchvision_weights"]
# Each architecture's LightningModule by the name of its file; each variant's network, layout and LightningModule.
ARCHITECTURES: dict[str, type[LitClassifier]] = {}
_VARIANTS: Variants[tuple[type[Network], Variant, type[LitClassifier]]] = Variants()

for _found in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_found.name}")
    for _name, _value in list(vars(_module).items()):
        if _name.startswith("Lit") and getattr(_value, "__module__", None) == _module.__name__:
            globals()[_name] = _value
            __all__.append(_name)
            ARCHITECTURES[_found.name] = _value
            # LitVGG trains VGG.
            _kind, _file = _name.removeprefix("Lit"), _module.__file__
            _network, _table = getattr(_module, _kind, None), getattr(_module, "VARIANTS", None)
            if _network is None or _table is None:
                raise ImportError(f"{_file} must define VARIANTS, and {_kind}, which {_name} trains")
            if _twice := _VARIANTS.keys() & _table.keys():
                raise ImportError(f"{_file} gives names to its variants that others have: {', '.join(_twice)}")
            _VARIANTS.update({name: (_network, layout, _value) for name, layout in _table.items()})


def list_variants() -> list[str]:
    """Names of all networks that :func:`build` knows; torchvision's names where torchvision has the network."""
    return list(_VARIANTS)


def describe(name: str) -> Variant:
    """What a variant says of itself: paper, image size, classes, published accuracy.

    Raises:
        ValueError: If there is no such variant; offers the nearest.
    """
    return _VARIANTS[name][1]


def build(name: str, num_classes: int | None = None, in_channels: int | None = None, **options: Any) -> Network:
    """A network with fresh weights.

    >>> import torch
    >>> build("resnet20", num_classes=3, in_channels=1)(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 3])

    Args:
        name: One of :func:`list_variants`.
        num_classes: Outputs; what the variant was made with, if not given.
        in_channels: Channels of the images; what the variant was made for, if not given.
        options: Further arguments of the network, for example ``activation`` of a LeNet.
    Raises:
        ValueError: If there is no such variant, or an argument is out of its range.
    """
    network, layout, _ = _VARIANTS[name]
    num_classes = layout.num_classes if num_classes is None else num_classes
    in_channels = layout.in_channels if in_channels is None else in_channels
    return network(layout, num_classes, in_channels, **options)


def lightning_module_of(name: str) -> type[LitClassifier]:
    """The LightningModule that trains a variant.

    Raises:
        ValueError: If there is no such variant; offers the nearest.
    """
    return _VARIANTS[name][2]


def find_variant(name: str) -> str:
    """A variant by its own name, or an architecture's default one by the name of its file or class: ``vgg``, ``LitVGG``.

    Raises:
        ValueError: If there is none; offers the nearest.
    """
    classes = {cls.__name__: cls for cls in ARCHITECTURES.values()} | ARCHITECTURES
    defaults = {key: inspect.signature(cls).parameters["variant"].default for key, cls in classes.items()}
    return resolve_variant(name, _VARIANTS, defaults)
