"""Train, compare and hand over classic convolutional networks with PyTorch Lightning.

``from lit_cnn import LitGoogLeNet, FashionMNIST``: a name is imported when it is first used, so ``import lit_cnn`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# All that `from lit_cnn import …` offers: for editors and type checkers here, at run time below. A test compares the two.
# `as` marks a name as public.
if TYPE_CHECKING:
    from lit_cnn.data import CIFAR10 as CIFAR10
    from lit_cnn.data import CIFAR100 as CIFAR100
    from lit_cnn.data import MNIST as MNIST
    from lit_cnn.data import Digits as Digits
    from lit_cnn.data import FakeImages as FakeImages
    from lit_cnn.data import FashionMNIST as FashionMNIST
    from lit_cnn.data import ImageDataModule as ImageDataModule
    from lit_cnn.data import ImageFolder as ImageFolder
    from lit_cnn.data import ImageTable as ImageTable
    from lit_cnn.inference.loading import load_run as load_run
    from lit_cnn.models import LitAlexNet as LitAlexNet
    from lit_cnn.models import LitDenseNet as LitDenseNet
    from lit_cnn.models import LitGoogLeNet as LitGoogLeNet
    from lit_cnn.models import LitLeNet as LitLeNet
    from lit_cnn.models import LitMLP as LitMLP
    from lit_cnn.models import LitNiN as LitNiN
    from lit_cnn.models import LitResNet as LitResNet
    from lit_cnn.models import LitVGG as LitVGG
    from lit_cnn.models import build as build
    from lit_cnn.models import list_variants as list_variants
    from lit_cnn.training.callbacks.averaging import EMA as EMA


# Type checkers must not see these: with them, every name would exist.
if not TYPE_CHECKING:
    _MODULES = {
        "lit_cnn.data": (
            "CIFAR10",
            "CIFAR100",
            "Digits",
            "FakeImages",
            "FashionMNIST",
            "ImageDataModule",
            "ImageFolder",
            "ImageTable",
            "MNIST",
        ),
        "lit_cnn.inference.loading": ("load_run",),
        "lit_cnn.models": (
            *("LitAlexNet", "LitDenseNet", "LitGoogLeNet", "LitLeNet", "LitMLP", "LitNiN", "LitResNet", "LitVGG"),
            *("build", "list_variants"),
        ),
        "lit_cnn.training.callbacks.averaging": ("EMA",),
    }
    __all__ = [name for names in _MODULES.values() for name in names]

    def __getattr__(name: str) -> object:
        module = next((module for module, names in _MODULES.items() if name in names), None)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(module), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return [*__all__, "__version__"]
